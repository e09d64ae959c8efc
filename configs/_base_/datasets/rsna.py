# RSNA Pneumonia Detection Challenge. Its images come from ChestX-ray14.
rsna = dict(
    data_root='data/rsna/',
    img_dir='prepared/images/',
    tasks=dict(
        cls=dict(
            classes=('Normal', 'No Lung Opacity/Not Normal', 'Lung Opacity'),
            label_type='multi-class',
            reader=dict(type='CsvLabelReader'),
            splits={s: f'prepared/{s}.csv' for s in ('train', 'val', 'test')},
        ),
        loc=dict(
            classes=('Lung Opacity',),
            reader=dict(type='CocoReader'),
            splits={s: f'prepared/{s}.json' for s in ('train', 'val', 'test')},
        ),
    ),
)
