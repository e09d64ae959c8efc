# Self-distillation on the images of three phantom hospitals. The labels serve
# the nearest neighbours of a validation alone; nothing is learned of them.
_base_ = './masked-images_tiny_phantom.py'
__labels = dict(
    classes=(
        'Nodule',
        'Mass',
        'Consolidation',
        'Pleural effusion',
        'Pneumothorax',
        'Cardiomegaly',
    ),
    reader=dict(type='CsvLabelReader'),
    metric=dict(type='NeighbourMetric'),
)
datasets = dict(
    phantom_a=dict(tasks=dict(ssl=__labels)),
    phantom_b=dict(tasks=dict(ssl=__labels)),
    phantom_c=dict(tasks=dict(ssl=__labels)),
)
model = dict(
    # the teacher's view of an image is all that there is to learn from
    consistency_weight=1.0,
    student=dict(
        self_supervision=dict(
            _delete_=True,
            type='SelfDistillationBranch',
            prototypes=256,
            hidden_dims=256,
            dims=64,
            small_views=4,
            small_size=64,
        )
    ),
)
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(_delete_=True)),
)
custom_hooks = [
    dict(type='MeanTeacherHook', unit='iter', decay=0.99, schedule='cosine'),
    dict(type='PredictionSheetHook'),
]
