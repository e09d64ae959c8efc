# A target of the study in docs/scaling.md: boxes of heart and lungs in
# phantoms in the layout of VinDr-CXR, at 64 px. The last weights are tested.
_base_ = [
    '../finetune/foundation-x_tiny_jsrt.py',
    '../_base_/datasets/vindr_organs.py',
]
datasets = dict(_delete_=True, vindr_organs={{_base_.vindr_organs}})
tasks = ['vindr_organs/loc']
train_cfg = dict(max_cycles=10)
