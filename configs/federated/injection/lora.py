# As frozen.py, with plain LoRA on the central backbone.
_base_ = '../../finetune/foundation-x_tiny_jsrt_lora.py'
model = dict(student=dict(adapter=dict(train=('segmentation/decoder',))))
