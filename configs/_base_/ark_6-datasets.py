# The six datasets of Ark-6 in its order.
_base_ = [
    './datasets/mimic_cxr.py',
    './datasets/chexpert.py',
    './datasets/nih14.py',
    './datasets/rsna.py',
    './datasets/vindr_cxr.py',
    './datasets/shenzhen.py',
]
datasets = dict(
    mimic_cxr={{_base_.mimic_cxr}},
    chexpert={{_base_.chexpert}},
    nih14={{_base_.nih14}},
    rsna={{_base_.rsna}},
    vindr_cxr={{_base_.vindr_cxr}},
    shenzhen={{_base_.shenzhen}},
)
tasks = [
    'mimic_cxr/cls',
    'chexpert/cls',
    'nih14/cls',
    'rsna/cls',
    'vindr_cxr/cls',
    'shenzhen/cls',
]
