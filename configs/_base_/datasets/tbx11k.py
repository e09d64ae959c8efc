# TBX11K; the official validation part, whose labels are public, is the test
# set, as in the paper. All kinds of tuberculosis are one class.
tbx11k = dict(
    data_root='data/tbx11k/',
    img_dir='imgs/',
    tasks=dict(
        cls=dict(
            classes=('Tuberculosis',),
            reader=dict(type='CsvLabelReader'),
            splits={s: f'prepared/{s}.csv' for s in ('train', 'val', 'test')},
        ),
        loc=dict(
            classes=('Tuberculosis',),
            reader=dict(type='CocoReader'),
            splits={s: f'prepared/{s}.json' for s in ('train', 'val', 'test')},
        ),
    ),
)
