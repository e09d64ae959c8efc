# Phantom hospital A: a modern digital room, image labels only.
# Another difficulty: data_root='data/phantom/hard/hospital_a/'.
phantom_a = dict(
    data_root='data/phantom/easy/hospital_a/',
    img_dir='images/',
    tasks=dict(
        cls=dict(
            classes=(
                'Nodule',
                'Mass',
                'Consolidation',
                'Pleural effusion',
                'Pneumothorax',
                'Cardiomegaly',
            ),
            label_type='multi-label',
            reader=dict(type='CsvLabelReader'),
            splits=dict(train='train.csv', val='val.csv', test='test.csv'),
        ),
    ),
)
