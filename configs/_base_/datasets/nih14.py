# NIH ChestX-ray14; the official test list, validation held out of the rest by
# patient. The boxes (984 on 880 images) officially belong to test images:
# whoever trains nih14/loc must not report nih14/cls.
__classes = (
    'Atelectasis', 'Cardiomegaly', 'Effusion', 'Infiltration', 'Mass',
    'Nodule', 'Pneumonia', 'Pneumothorax', 'Consolidation', 'Edema',
    'Emphysema', 'Fibrosis', 'Pleural_Thickening', 'Hernia',
)  # fmt: skip
nih14 = dict(
    data_root='data/nih14/',
    img_dir='images/',
    tasks=dict(
        cls=dict(
            classes=__classes,
            reader=dict(type='CsvLabelReader'),
            splits={s: f'prepared/{s}.csv' for s in ('train', 'val', 'test')},
        ),
        loc=dict(
            classes=__classes[:8],
            reader=dict(type='CocoReader'),
            splits={s: f'prepared/{s}.json' for s in ('train', 'val', 'test')},
        ),
    ),
)
