# NIH Shenzhen. Prepared: lists "CHNCXR_0402_1.png,1" (Ark publishes them).
shenzhen = dict(
    data_root='data/shenzhen/',
    img_dir='CXR_png/',
    tasks=dict(
        cls=dict(
            classes=('TB',),
            reader=dict(type='ListLabelReader'),
            splits={s: f'{s}.txt' for s in ('train', 'val', 'test')},
        ),
    ),
)
