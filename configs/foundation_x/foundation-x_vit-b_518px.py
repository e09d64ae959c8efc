# Foundation X with a ViT-B of RAD-DINO, 518 px. Rates fall from layer to
# layer instead of by 0.1 for the whole backbone, as ViTDet has it for a ViT-B.
_base_ = [
    '../_base_/foundation-x_11-datasets.py',
    '../_base_/models/foundation-x_vit-b.py',
    '../_base_/schedules/foundation-x_150c.py',
    '../_base_/task_defaults.py',
    '../_base_/default_runtime.py',
]
task_defaults = dict(
    cls=dict(img_size=518), loc=dict(img_size=518), seg=dict(img_size=518)
)
optim_wrapper = dict(
    paramwise_cfg=dict(
        _delete_=True, layer_decay_rate=0.7, norm_decay_mult=0.0
    )
)
