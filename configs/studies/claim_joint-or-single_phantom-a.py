# Is one model for four tasks at least as good on the labels of hospital A as
# a model of these labels alone? The configs of the ablation on its phantoms,
# which get a validation split besides. See docs/stability.md.
__easy = 'data/phantom_stability/easy/hospital_'
__load = dict(type='LoadXray')
__rest = [
    dict(type='mmdet.Resize', scale='img_size', keep_ratio=False),
    dict(type='LoadXrayAnnotations'),
    dict(type='PackXray'),
]
__gamma = dict(type='RandomGamma', prob=1.0)

claim = dict(
    text='A joint model of four tasks is at least as good on the labels of '
    'phantom hospital A as a model of these labels alone.',
    metric='phantom_a/cls/AUC',
    better='joint',
    than='single',
    margin=0.01,
)
arms = dict(
    joint='../ablation/foundation-x.py',
    single='../ablation/single-task_phantom-a-cls.py',
)
seeds = [0, 1, 2]
options = {
    'phantom.root': 'data/phantom_stability',
    'phantom.counts.val': 400,
    'datasets.phantom_a.data_root': __easy + 'a/',
    'datasets.phantom_b.data_root': __easy + 'b/',
    'datasets.phantom_c.data_root': __easy + 'c/',
}
perturbations = [
    dict(
        factor='lock passes',
        level='none',
        why='They are there for boxes and masks; for labels nothing says that '
        'they help.',
        only=dict(
            joint={'cycle.lock': 'none', 'cycle.max_batches.loc': 18}
            | {'cycle.max_batches.seg': 30}
        ),
    ),
    dict(
        factor='consistency with the teacher',
        level='none, student tested',
        why='The single-task model has no teacher either: the joint one may '
        'owe its lead to the average of its weights.',
        only=dict(
            joint={
                'model.consistency_weight': 0.0,
                'test_cfg.predict_on': ['student', 'teacher'],
            }
        ),
    ),
    dict(
        factor='model that predicts',
        level='student',
        why='The single-task model tests a student too: does the average of '
        'the weights make the lead, with the same training?',
        test=dict(predict_on='student'),
    ),
    dict(
        factor='gamma of the test images',
        level='1.25',
        why='Rooms and monitors differ, and a darker image is as right.',
        test=dict(
            options={
                'task_defaults.cls.test_pipeline': [
                    __load,
                    dict(__gamma, gamma_range=(1.25, 1.25)),
                    *__rest,
                ]
            }
        ),
    ),
    dict(
        factor='JPEG quality of the test images',
        level='18',
        why='Archives store JPEG of unknown quality; 18 is the worst one that '
        'a reader would accept.',
        test=dict(
            options={
                'task_defaults.cls.test_pipeline': [
                    __load,
                    dict(type='JpegCompression', quality=18),
                    *__rest,
                ]
            }
        ),
    ),
]
unseen = ['phantom_b']
subgroups = dict(
    table='data/phantom_stability/easy/hospital_a/test.csv',
    columns=['Cardiomegaly', 'Pleural effusion'],
)
prediction_sets = dict(level=0.9, repeats=20)
