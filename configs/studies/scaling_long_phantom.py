# Does a longer pretraining on labels help labels and masks? As
# scaling_phantom.py, 2400 steps on all images, and five seeds.
_base_ = './scaling_phantom.py'
pretraining = dict(_delete_=True, supervised='../scaling/supervised_long.py')
shares = [1.0]
seeds = [0, 1, 2, 3, 4]
downstream = dict(
    _delete_=True,
    labels=dict(
        config='../scaling/labels_nih14.py', how='linear probe', images=None
    ),
    masks=dict(config='../scaling/masks_jsrt.py', how='fine-tune', images=12),
)
diversity = dict(_delete_=True)
