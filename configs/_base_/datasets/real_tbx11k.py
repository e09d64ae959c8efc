# Three images of TBX11K, one of them without boxes. All kinds of tuberculosis
# are one class, as in the paper. Training, validation and test are the same.
# The environment variable FX_MM_REAL_DATA names the folder of the samples.
real_tbx11k = dict(
    data_root='{{$FX_MM_REAL_DATA:data/real_cxr}}/tbx11k/',
    img_dir='imgs/',
    tasks=dict(
        loc=dict(
            classes=('Tuberculosis',),
            reader=dict(type='CocoReader', merge_classes=True),
            splits=dict(
                train='annotations/json/TBX11K_train.json',
                val='annotations/json/TBX11K_train.json',
                test='annotations/json/TBX11K_train.json',
            ),
        ),
    ),
)
