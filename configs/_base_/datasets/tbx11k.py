# TBX11K; the official validation set, whose labels are public, is the test
# set, as in the paper. Prepared: train and val, divided from the official
# training set: train.csv, val.csv, test.csv (image, Tuberculosis: 1 for the
# images in tb/) and train.json, val.json. All kinds of tuberculosis are one
# class.
tbx11k = dict(
    data_root='data/tbx11k/',
    img_dir='imgs/',
    tasks=dict(
        cls=dict(
            classes=('Tuberculosis',),
            reader=dict(type='CsvLabelReader'),
            splits={s: f'{s}.csv' for s in ('train', 'val', 'test')},
        ),
        loc=dict(
            classes=('Tuberculosis',),
            reader=dict(type='CocoReader', merge_classes=True),
            splits=dict(
                train='train.json',
                val='val.json',
                test='annotations/json/TBX11K_val.json',
            ),
        ),
    ),
)
