# ChestX-Det. Prepared from its polygons: train.csv .. (image, a column a
# class), COCO train.json .., train_masks.csv .. (mask path a class).
__classes = (
    'Atelectasis', 'Calcification', 'Cardiomegaly', 'Consolidation',
    'Diffuse Nodule', 'Effusion', 'Emphysema', 'Fibrosis', 'Fracture',
    'Mass', 'Nodule', 'Pleural Thickening', 'Pneumothorax',
)  # fmt: skip
__load = [dict(type='LoadXray'), dict(type='LoadXrayAnnotations')]
__resize = dict(type='mmdet.Resize', scale='img_size', keep_ratio=False)
__flip = dict(type='mmdet.RandomFlip', prob=0.5)
__more = [
    dict(type='mmdet.Rotate', prob=0.5, max_mag=10.0),
    dict(type='mmdet.Brightness', prob=0.5, min_mag=0.8, max_mag=1.2),
    dict(type='mmdet.Contrast', prob=0.5, min_mag=0.8, max_mag=1.2),
]
__pack = dict(type='PackXray')
chestx_det = dict(
    data_root='data/chestx_det/',
    img_dir='images/',
    tasks=dict(
        cls=dict(
            classes=__classes,
            reader=dict(type='CsvLabelReader'),
            splits={s: f'{s}.csv' for s in ('train', 'val', 'test')},
        ),
        loc=dict(
            classes=__classes,
            reader=dict(type='CocoReader'),
            splits={s: f'{s}.json' for s in ('train', 'val', 'test')},
            train_pipeline=[*__load, __resize, __flip, __pack],
        ),
        seg=dict(
            classes=__classes,
            reader=dict(type='MaskReader'),
            splits={s: f'{s}_masks.csv' for s in ('train', 'val', 'test')},
            train_pipeline=[*__load, __resize, __flip, *__more, __pack],
        ),
    ),
)
