# SIIM-ACR pneumothorax. Prepared: train.csv .. (image, Pneumothorax),
# train_masks.csv .. (image, path of the mask; from the run lengths) and COCO
# train.json .. (boxes around the masks).
__load = [dict(type='LoadXray'), dict(type='LoadXrayAnnotations')]
__resize = dict(type='mmdet.Resize', scale='img_size', keep_ratio=False)
__augment = [
    dict(type='mmdet.RandomFlip', prob=0.5),
    dict(type='mmdet.Rotate', prob=0.5, max_mag=10.0),
    dict(type='mmdet.Brightness', prob=0.5, min_mag=0.8, max_mag=1.2),
    dict(type='mmdet.Contrast', prob=0.5, min_mag=0.8, max_mag=1.2),
]
__pack = dict(type='PackXray')
siim_acr = dict(
    data_root='data/siim_acr/',
    img_dir='images/',
    tasks=dict(
        cls=dict(
            classes=('Pneumothorax',),
            reader=dict(type='CsvLabelReader'),
            splits={s: f'{s}.csv' for s in ('train', 'val', 'test')},
        ),
        loc=dict(
            classes=('Pneumothorax',),
            reader=dict(type='CocoReader'),
            splits={s: f'{s}.json' for s in ('train', 'val', 'test')},
        ),
        seg=dict(
            classes=('Pneumothorax',),
            reader=dict(type='MaskReader'),
            splits={s: f'{s}_masks.csv' for s in ('train', 'val', 'test')},
            train_pipeline=[*__load, __resize, *__augment, __pack],
        ),
    ),
)
