# What do more images and a larger model bring? See docs/scaling.md.
pretraining = {
    'supervised': '../scaling/supervised.py',
    'masked-images': '../scaling/masked-images.py',
    'self-distillation': '../scaling/self-distillation.py',
}
sizes = {
    f'w{w}': {
        'model.student.backbone.embed_dims': w,
        'model.student.backbone.num_heads': (1, 2, 4, 8),
    }
    for w in (8, 16, 32)
}
shares = [0.05, 0.2, 1.0]
seeds = [0, 1, 2]
downstream = dict(
    labels=dict(
        config='../scaling/labels_nih14.py', how='linear probe', images=None
    ),
    boxes=dict(
        config='../scaling/boxes_vindr-organs.py', how='fine-tune', images=12
    ),
    masks=dict(config='../scaling/masks_jsrt.py', how='fine-tune', images=12),
)
diversity = dict(
    datasets=['phantom_a', 'phantom_b', 'phantom_c'],
    images=480,
    size='w16',
    pretraining=['supervised'],
)
