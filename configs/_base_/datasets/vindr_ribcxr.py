# VinDr-RibCXR: twenty ribs. The official validation part is the test set.
__classes = tuple(f'{side}{n}' for side in 'RL' for n in range(1, 11))
vindr_ribcxr = dict(
    data_root='data/vindr_ribcxr/',
    img_dir='',
    tasks=dict(
        seg=dict(
            classes=__classes,
            reader=dict(type='MaskReader'),
            splits={
                s: f'prepared/{s}_masks.csv' for s in ('train', 'val', 'test')
            },
        ),
    ),
)
