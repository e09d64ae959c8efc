# SIIM-ACR pneumothorax. Boxes lie around the masks.
siim_acr = dict(
    data_root='data/siim_acr/',
    img_dir='prepared/images/',
    tasks=dict(
        cls=dict(
            classes=('Pneumothorax',),
            reader=dict(type='CsvLabelReader'),
            splits={s: f'prepared/{s}.csv' for s in ('train', 'val', 'test')},
        ),
        loc=dict(
            classes=('Pneumothorax',),
            reader=dict(type='CocoReader'),
            splits={s: f'prepared/{s}.json' for s in ('train', 'val', 'test')},
        ),
        seg=dict(
            classes=('Pneumothorax',),
            flip_prob=0.5,
            reader=dict(type='MaskReader'),
            splits={
                s: f'prepared/{s}_masks.csv' for s in ('train', 'val', 'test')
            },
        ),
    ),
)
