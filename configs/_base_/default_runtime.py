default_scope = 'fx_mm'
runner_type = 'fx_mm.MultiTaskRunner'
custom_imports = dict(imports=['fx_mm'])
default_hooks = dict(
    runtime_info=dict(type='CyclicRuntimeInfoHook'),
    timer=None,
    sampler_seed=None,
    logger=dict(type='PassLogHook'),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CyclicCheckpointHook', interval=1, max_keep_ckpts=2),
    progress=dict(type='ProgressHook'),
)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl', timeout=600),
)
visualizer = dict(
    type='Visualizer',
    vis_backends=[
        dict(type='LocalVisBackend'),
        dict(type='TensorboardVisBackend'),
    ],
)
randomness = dict(seed=0)
loader = dict(num_workers=2, persistent_workers=True)
log_level = 'INFO'
load_from = None
resume = False
