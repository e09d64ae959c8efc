# Phantom hospital B: portable units, image labels and boxes.
# Another difficulty: data_root='data/phantom/hard/hospital_b/'.
__findings = (
    'Nodule',
    'Mass',
    'Consolidation',
    'Pleural effusion',
    'Pneumothorax',
    'Cardiomegaly',
)
phantom_b = dict(
    data_root='data/phantom/easy/hospital_b/',
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
    ),
)
