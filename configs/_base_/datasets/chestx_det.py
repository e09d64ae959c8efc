# ChestX-Det; validation held out of the official training part.
__classes = (
    'Atelectasis', 'Calcification', 'Cardiomegaly', 'Consolidation',
    'Diffuse Nodule', 'Effusion', 'Emphysema', 'Fibrosis', 'Fracture', 'Mass',
    'Nodule', 'Pleural Thickening', 'Pneumothorax',
)  # fmt: skip
chestx_det = dict(
    data_root='data/chestx_det/',
    img_dir='',
    tasks=dict(
        cls=dict(
            classes=__classes,
            reader=dict(type='CsvLabelReader'),
            splits={s: f'prepared/{s}.csv' for s in ('train', 'val', 'test')},
        ),
        loc=dict(
            classes=__classes,
            flip_prob=0.5,
            reader=dict(type='CocoReader'),
            splits={s: f'prepared/{s}.json' for s in ('train', 'val', 'test')},
        ),
        seg=dict(
            classes=__classes,
            flip_prob=0.5,
            reader=dict(type='MaskReader'),
            splits={
                s: f'prepared/{s}_masks.csv' for s in ('train', 'val', 'test')
            },
        ),
    ),
)
