# Pretraining of Swin-B on the training images of the paper's 11 datasets,
# whatever is noted on them; from ImageNet-22k, as configs/foundation_x.
_base_ = [
    '../_base_/foundation-x_11-datasets.py',
    '../_base_/models/foundation-x_swin-b.py',
    '../_base_/schedules/foundation-x_150c.py',
    '../_base_/task_defaults.py',
    '../_base_/default_runtime.py',
]
__names = (
    'chexpert', 'nih14', 'vindr_cxr', 'shenzhen', 'mimic_cxr', 'tbx11k',
    'node21', 'candid_ptx', 'rsna', 'chestx_det', 'siim_acr',
)  # fmt: skip
__splits = {s: f'prepared/{s}.csv' for s in ('train', 'val', 'test')}
datasets = {n: dict(tasks=dict(ssl=dict(splits=__splits))) for n in __names}
tasks = [f'{name}/ssl' for name in __names]
model = dict(
    consistency_weight=0,
    student=dict(self_supervision=dict(type='MaskedImageBranch')),
)
cycle = dict(order='proportional', lock='none')
train_cfg = dict(max_cycles=100, val_interval=5)
# SimMIM: 2e-4 for 512 images, here of batches of 24.
optim_wrapper = dict(
    optimizer=dict(lr=1e-5, weight_decay=0.05, betas=(0.9, 0.999)),
    paramwise_cfg=dict(
        _delete_=True,
        custom_keys=dict(mask_token=dict(decay_mult=0.0)),
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
    ),
    clip_grad=dict(_delete_=True, ssl=dict(max_norm=5.0)),
)
param_scheduler = [dict(type='CycleCosineLR', warmup_cycles=10)]
custom_hooks = [dict(type='PredictionSheetHook', stages=('val', 'test'))]
