# Foundation X exactly as the authors released it: their checkpoints load
# whole. Every dataset projects the encoder memory; the predicted boxes come
# from a branch apart from the one that refines inside the decoder; every
# class branch has 14 logits, counted from 1; the proposals have no loss and
# the RSNA head learned with binary cross-entropy. For training anew,
# foundation-x_swin-b_150c.py is the better start.
_base_ = './foundation-x_swin-b_150c.py'
model = dict(
    student=dict(
        classification=dict(multi_class_loss='bce'),
        localization=dict(
            memory_projection=True,
            num_labels=16,
            separate_outputs=True,
            num_logits=14,
            first_label=1,
            proposal_loss_weight=0.0,
        ),
    ),
)
