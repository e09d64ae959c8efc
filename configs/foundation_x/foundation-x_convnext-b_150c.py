# Foundation X with a ConvNeXt-B, 224 px.
_base_ = [
    '../_base_/foundation-x_11-datasets.py',
    '../_base_/models/foundation-x_convnext-b.py',
    '../_base_/schedules/foundation-x_150c.py',
    '../_base_/task_defaults.py',
    '../_base_/default_runtime.py',
]
