# NIH ChestX-ray14. Prepared: the official split, validation held out of its
# training part by patient, as lists "file l1 .. l14" (Ark publishes them).
nih14 = dict(
    data_root='data/nih14/',
    img_dir='images/',
    tasks=dict(
        cls=dict(
            classes=(
                'Atelectasis',
                'Cardiomegaly',
                'Effusion',
                'Infiltration',
                'Mass',
                'Nodule',
                'Pneumonia',
                'Pneumothorax',
                'Consolidation',
                'Edema',
                'Emphysema',
                'Fibrosis',
                'Pleural_Thickening',
                'Hernia',
            ),
            reader=dict(type='ListLabelReader'),
            splits={s: f'{s}.txt' for s in ('train', 'val', 'test')},
        ),
    ),
)
