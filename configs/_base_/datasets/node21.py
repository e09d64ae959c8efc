# NODE21. Prepared: PNG images from the .mha files; train.csv, val.csv,
# test.csv (image, Nodule) and COCO train.json, val.json, test.json.
node21 = dict(
    data_root='data/node21/',
    img_dir='images/',
    tasks=dict(
        cls=dict(
            classes=('Nodule',),
            reader=dict(type='CsvLabelReader'),
            splits={s: f'{s}.csv' for s in ('train', 'val', 'test')},
        ),
        loc=dict(
            classes=('Nodule',),
            reader=dict(type='CocoReader'),
            splits={s: f'{s}.json' for s in ('train', 'val', 'test')},
        ),
    ),
)
