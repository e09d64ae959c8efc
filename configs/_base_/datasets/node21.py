# NODE21.
node21 = dict(
    data_root='data/node21/',
    img_dir='prepared/images/',
    tasks=dict(
        cls=dict(
            classes=('Nodule',),
            reader=dict(type='CsvLabelReader'),
            splits={s: f'prepared/{s}.csv' for s in ('train', 'val', 'test')},
        ),
        loc=dict(
            classes=('Nodule',),
            reader=dict(type='CocoReader'),
            splits={s: f'prepared/{s}.json' for s in ('train', 'val', 'test')},
        ),
    ),
)
