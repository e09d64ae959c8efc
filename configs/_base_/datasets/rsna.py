# RSNA Pneumonia Detection Challenge. Prepared: PNG images, lists "id.png 2"
# (number of the class; Ark publishes them) and COCO train.json ..
rsna = dict(
    data_root='data/rsna/',
    img_dir='stage_2_train_images_png/',
    tasks=dict(
        cls=dict(
            classes=('Normal', 'No Lung Opacity/Not Normal', 'Lung Opacity'),
            labels='multi-class',
            reader=dict(type='ListLabelReader', class_index=True),
            splits={s: f'{s}.txt' for s in ('train', 'val', 'test')},
        ),
        loc=dict(
            classes=('Lung Opacity',),
            reader=dict(type='CocoReader'),
            splits={s: f'{s}.json' for s in ('train', 'val', 'test')},
        ),
    ),
)
