# JSRT with the masks of SCR, left and right united as in the paper. SCR's
# first fold trains, its second tests.
jsrt = dict(
    data_root='data/jsrt/',
    img_dir='prepared/images/',
    tasks=dict(
        seg=dict(
            classes=('Lung', 'Heart', 'Clavicle'),
            reader=dict(type='MaskReader'),
            splits={
                s: f'prepared/{s}_masks.csv' for s in ('train', 'val', 'test')
            },
        ),
    ),
)
