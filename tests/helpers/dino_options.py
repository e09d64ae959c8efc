"""Options that cut a localization branch to seconds."""


def dino_options(
    root, dims=None, layers=(1, 1), hidden=32, queries=20, pairs=10
):
    """Dotted keys of a small DINO below ``root``.

    Args:
        root (str): Such as ``model.student.localization``.
        dims (int, optional): Width; None leaves it as it is.
        layers (tuple[int]): Of the encoder and of the decoder.
        hidden (int): Width of the FFNs.
        queries (int): Queries, and boxes kept at test time.
        pairs (int): Denoising pairs.
    """
    options = {
        'num_queries': queries,
        'encoder.num_layers': layers[0],
        'decoder.num_layers': layers[1],
        'dn_cfg.group_cfg.num_dn_queries': pairs,
        'test_cfg.max_per_img': queries,
    }
    for coder in ('encoder', 'decoder'):
        options[f'{coder}.layer_cfg.ffn_cfg.feedforward_channels'] = hidden
    if dims is not None:
        options['neck.out_channels'] = dims
    return {f'{root}.{key}': value for key, value in options.items()}
