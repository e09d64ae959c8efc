# NIH Shenzhen.
shenzhen = dict(
    data_root='data/shenzhen/',
    img_dir='CXR_png/',
    tasks=dict(
        cls=dict(
            classes=('TB',),
            reader=dict(type='CsvLabelReader'),
            splits={s: f'prepared/{s}.csv' for s in ('train', 'val', 'test')},
        ),
    ),
)
