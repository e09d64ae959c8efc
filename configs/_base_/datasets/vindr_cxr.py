# VinDr-CXR, its six global labels: 1 if any of the radiologists says so.
vindr_cxr = dict(
    data_root='data/vindr_cxr/',
    img_dir='prepared/images/',
    tasks=dict(
        cls=dict(
            classes=(
                'PE',  # pleural effusion
                'Lung tumor',
                'Pneumonia',
                'Tuberculosis',
                'Other diseases',
                'No finding',
            ),
            reader=dict(type='CsvLabelReader'),
            splits={s: f'prepared/{s}.csv' for s in ('train', 'val', 'test')},
        ),
    ),
)
