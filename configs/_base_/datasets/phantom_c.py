# Phantom hospital C: scanned films; image labels, boxes, masks and a number.
# Another difficulty: data_root='data/phantom/hard/hospital_c/'.
__findings = (
    'Nodule',
    'Mass',
    'Consolidation',
    'Pleural effusion',
    'Pneumothorax',
    'Cardiomegaly',
)
__organs = ('Left lung', 'Right lung', 'Heart')
phantom_c = dict(
    data_root='data/phantom/easy/hospital_c/',
    img_dir='images/',
    tasks=dict(
        cls=dict(
            classes=__findings,
            label_type='multi-label',
            reader=dict(type='CsvLabelReader'),
            splits=dict(train='train.csv', val='val.csv', test='test.csv'),
        ),
        loc=dict(
            classes=__findings,
            reader=dict(type='CocoReader'),
            splits=dict(train='train.json', val='val.json', test='test.json'),
        ),
        seg=dict(
            classes=__organs + __findings,
            reader=dict(type='MaskReader'),
            splits={s: f'{s}_masks.csv' for s in ('train', 'val', 'test')},
            class_groups=dict(organs=__organs, findings=__findings),
        ),
        reg=dict(
            classes=('Cardiothoracic ratio',),
            reader=dict(type='CsvValueReader'),
            splits={s: f'{s}_values.csv' for s in ('train', 'val', 'test')},
        ),
    ),
)
