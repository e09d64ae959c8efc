# A target of the study in docs/scaling.md: labels of phantoms in the layout of
# NIH ChestX-ray14, at 64 px, by a linear probe; nothing is trained.
_base_ = ['../ablation/no-lock.py', '../_base_/datasets/nih14.py']
phantom = None
datasets = dict(_delete_=True, nih14={{_base_.nih14}})
tasks = ['nih14/cls']
