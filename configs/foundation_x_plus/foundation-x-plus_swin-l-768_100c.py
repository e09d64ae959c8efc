# Foundation X+ with a Swin-L, 768 px.
_base_ = [
    '../_base_/foundation-x_11-datasets.py',
    '../_base_/models/foundation-x-plus_swin-l-768.py',
    '../_base_/schedules/foundation-x-plus_100c.py',
    '../_base_/task_defaults_foundation-x-plus.py',
    '../_base_/default_runtime.py',
]
task_defaults = dict(
    cls=dict(img_size=768), loc=dict(img_size=768), seg=dict(img_size=768)
)
