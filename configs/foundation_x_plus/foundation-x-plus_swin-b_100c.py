# Foundation X+: Swin-B, 224 px, 20 tasks of 11 datasets.
_base_ = [
    '../_base_/foundation-x_11-datasets.py',
    '../_base_/models/foundation-x-plus_swin-b.py',
    '../_base_/schedules/foundation-x-plus_100c.py',
    '../_base_/task_defaults_foundation-x-plus.py',
    '../_base_/default_runtime.py',
]
