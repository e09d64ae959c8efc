# As lora.py, with a mixture of as many values, which nothing guides.
_base_ = '../../finetune/foundation-x_tiny_jsrt_mixture.py'
model = dict(student=dict(adapter=dict(train=('segmentation/decoder',))))
