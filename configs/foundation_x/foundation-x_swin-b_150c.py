# Foundation X as in the paper: Swin-B, 224 px, 20 tasks of 11 datasets.
_base_ = [
    '../_base_/foundation-x_11-datasets.py',
    '../_base_/models/foundation-x_swin-b.py',
    '../_base_/schedules/foundation-x_150c.py',
    '../_base_/task_defaults.py',
    '../_base_/default_runtime.py',
]
