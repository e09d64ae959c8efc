# VinDr-CXR, its six global labels: 1 if any of the radiologists says so.
# Prepared: lists "train_jpeg/id l1 .. l6", validation held out of the
# training part (the papers validate on the test set).
vindr_cxr = dict(
    data_root='data/vindr_cxr/',
    img_dir='',
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
            reader=dict(type='ListLabelReader', img_suffix='.jpeg'),
            splits={s: f'{s}.txt' for s in ('train', 'val', 'test')},
        ),
    ),
)
