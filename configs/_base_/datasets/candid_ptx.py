# CANDID-PTX, DICOM as released. Prepared: train.csv .. (image, Pneumothorax),
# train_masks.csv .. (image, path of the mask; from the run lengths) and COCO
# train.json .. (boxes around the masks).
candid_ptx = dict(
    data_root='data/candid_ptx/',
    img_dir='dataset/',
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
        ),
    ),
)
