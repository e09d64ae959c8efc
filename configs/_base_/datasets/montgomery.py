# NIH Montgomery: both lungs as one class, as in the paper.
montgomery = dict(
    data_root='data/montgomery/',
    img_dir='CXR_png/',
    tasks=dict(
        seg=dict(
            classes=('Lung',),
            reader=dict(type='MaskReader'),
            splits={
                s: f'prepared/{s}_masks.csv' for s in ('train', 'val', 'test')
            },
        ),
    ),
)
