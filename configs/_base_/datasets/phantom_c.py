# Phantom hospital C: scanned films; labels, boxes, masks, a number, reports.
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
            splits={s: f'{s}_values.csv' for s in ('train', 'val', 'test')},
        ),
        report=dict(
            classes=__findings,
            splits={s: f'{s}_reports.csv' for s in ('train', 'val', 'test')},
        ),
    ),
)
