# VinDr-CXR, lungs and heart as CheXmask drew them.
__classes = ('Heart', 'Left lung', 'Right lung')
vindr_organs = dict(
    data_root='data/vindr_cxr/',
    img_dir='prepared/images/',
    tasks=dict(
        loc=dict(
            classes=__classes,
            reader=dict(type='CocoReader'),
            splits={
                s: f'prepared/organs_{s}.json'
                for s in ('train', 'val', 'test')
            },
        ),
        seg=dict(
            classes=__classes,
            reader=dict(type='MaskReader'),
            splits={
                s: f'prepared/organs_{s}_masks.csv'
                for s in ('train', 'val', 'test')
            },
        ),
    ),
)
