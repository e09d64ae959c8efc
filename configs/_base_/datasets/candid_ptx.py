# CANDID-PTX. Boxes lie around the parts of the masks.
candid_ptx = dict(
    data_root='data/candid_ptx/',
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
            reader=dict(type='MaskReader'),
            splits={
                s: f'prepared/{s}_masks.csv' for s in ('train', 'val', 'test')
            },
        ),
    ),
)
