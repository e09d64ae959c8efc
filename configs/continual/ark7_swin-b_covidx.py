# Ark's own case: a seventh dataset, COVIDx, behind a finished Ark-6, whose six
# are rehearsed with 5 % of their images. Not run on the real datasets.
#
#   python tools/train.py configs/continual/ark7_swin-b_covidx.py \
#       --cfg-options continual.start=CHECKPOINT_OF_ARK_6
#
# Half of COVIDx's images are RSNA's: what RSNA's test says afterwards is
# contaminated (configs/_base_/datasets/covidx.py).
_base_ = ['../ark/ark6_swin-b_200c.py', '../_base_/datasets/covidx.py']
datasets = dict(covidx={{_base_.covidx}})
tasks = None
continual = dict(
    stages=[
        [
            'mimic_cxr/cls',
            'chexpert/cls',
            'nih14/cls',
            'rsna/cls',
            'vindr_cxr/cls',
            'shenzhen/cls',
        ],
        ['covidx/cls'],
    ],
    start='work_dirs/ark6_swin-b_200c/iter_last.pth',
    rehearsal=dict(share=0.05, ratio=0.5),
)
# The authors' rate for their continual runs; the length is ours.
train_cfg = dict(max_cycles=50)
optim_wrapper = dict(optimizer=dict(lr=0.1))
