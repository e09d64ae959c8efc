# Phantom hospital C: scanned films; image labels, boxes and masks.
# Another difficulty: data_root='data/phantom/hard/hospital_c/'.
_findings = (
    'Nodule',
    'Mass',
    'Consolidation',
    'Pleural effusion',
    'Pneumothorax',
    'Cardiomegaly',
)
_organs = ('Left lung', 'Right lung', 'Heart')
phantom_c = dict(
    data_root='data/phantom/easy/hospital_c/',
    img_dir='images/',
    tasks=dict(
        cls=dict(
            classes=_findings,
            labels='multi-label',
            reader=dict(type='CsvLabelReader'),
            splits=dict(train='train.csv', val='val.csv', test='test.csv'),
        ),
        loc=dict(
            classes=_findings,
            reader=dict(type='CocoReader'),
            splits=dict(train='train.json', val='val.json', test='test.json'),
        ),
        seg=dict(
            classes=_organs + _findings,
            reader=dict(type='MaskReader'),
            splits={s: f'{s}_masks.csv' for s in ('train', 'val', 'test')},
            class_groups=dict(organs=_organs, findings=_findings),
        ),
    ),
)
