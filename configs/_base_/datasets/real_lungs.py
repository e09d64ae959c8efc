# Four chest X-rays with lung masks: 1.jpg and 1-mask.png, side by side in one
# folder, which takes the place of an annotation file. Training, validation and
# test are the same images.
# The environment variable FX_MM_REAL_DATA names the folder of the samples.
real_lungs = dict(
    data_root='{{$FX_MM_REAL_DATA:data/real_cxr}}/lungs/',
    img_dir='',
    tasks=dict(
        seg=dict(
            classes=('Lung',),
            reader=dict(type='MaskReader', suffix='-mask.png'),
            splits=dict(train='.', val='.', test='.'),
        ),
    ),
)
