"""The authors' own numbers: a tiny Foundation X, its weights and outputs.

They are in a folder that the environment variable ``FX_MM_GOLDEN`` names, in
``golden_tiny.npz`` and ``golden_tiny_weights.npz``, which hold no code and are
not shipped.
"""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor

from fx_mm.analysis.gpu_check.choices import Choices
from fx_mm.analysis.gpu_check.job import Job
from fx_mm.analysis.gpu_check.operators import relative_error
from fx_mm.converters import ConvertedWeights, convert_foundation_x
from fx_mm.models import FoundationX
from fx_mm.registry import MODELS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import LocalizationKind, TaskTable
from fx_mm.utils.device import allow_tf32

VARIABLE = 'FX_MM_GOLDEN'
RELEASED = Path('foundation_x', 'foundation-x_swin-b_released.py')
TINY = {
    'backbone.embed_dims': 16,
    'backbone.depths': (2, 2, 2, 2),
    'backbone.num_heads': (1, 2, 4, 8),
    'localization.num_queries': 100,
    'localization.encoder.num_layers': 2,
    'localization.decoder.num_layers': 2,
    'localization.encoder.layer_cfg.ffn_cfg.feedforward_channels': 128,
    'localization.decoder.layer_cfg.ffn_cfg.feedforward_channels': 128,
    'localization.dn_cfg.group_cfg.num_dn_queries': 100,
    'localization.test_cfg.max_per_img': 100,
}
"""Of ``model.student``."""
HEADS = ('tbx11k', 'node21', 'candid_ptx', 'rsna', 'chestx_det', 'siim_acr')
CLS_HEADS = (*HEADS, 'chexpert', 'nih14', 'vindr_cxr', 'shenzhen', 'mimic_cxr')
SEG_HEADS, LOC_HEADS = (2, 4, 5), (0, 3)
"""Numbers of the heads whose outputs there are."""
FINDINGS = tuple(f'class {label}' for label in range(1, 14))
LIMIT = 1e-3


def read_outputs(folder: str | Path) -> dict[str, Any]:
    """Read inputs and outputs; texts are lists, all else tensors."""
    arrays = np.load(Path(folder, 'golden_tiny.npz'))
    return {
        key: arrays[key].tolist()
        if arrays[key].dtype.kind == 'U'
        else torch.from_numpy(arrays[key])
        for key in arrays.files
    }


def read_weights(folder: str | Path) -> dict[str, Tensor]:
    """Read all keys of a released checkpoint, the aliases too."""
    arrays = np.load(Path(folder, 'golden_tiny_weights.npz'))
    weights = {}
    for key in set(arrays.files) - {'__aliases__'}:
        value = torch.from_numpy(arrays[key])
        # float16 is exact here: the weights lie on a grid
        real = value.is_floating_point()
        weights[key] = value.float() if real else value.long()
    aliases = json.loads(str(arrays['__aliases__']))
    return weights | {key: weights[name] for key, name in aliases.items()}


def build_golden(
    configs: Path, weights: dict[str, Tensor]
) -> tuple[FoundationX, ConvertedWeights]:
    """Build the model in eval mode with the weights.

    Args:
        configs (Path): Folder of the configs.
        weights (dict[str, Tensor]): See :func:`read_weights`.
    """
    cfg = Config.fromfile(configs / RELEASED)
    cfg.merge_from_dict(
        {f'model.student.{key}': value for key, value in TINY.items()}
    )
    tasks = [
        # The reference data have labels that this dataset lacks.
        dataclasses.replace(task, classes=FINDINGS)
        if task.kind is LocalizationKind
        else task
        for task in TaskTable.from_cfg(cfg)
    ]
    model = MODELS.build(dict(cfg.model.student, tasks=tasks))
    result = convert_foundation_x(weights, model)
    model.load_state_dict(result.state_dict)
    return model.eval(), result


def golden_sample(**truth: Any) -> list[FXDataSample]:
    """The one image of 224 px as a batch."""
    meta = dict(
        img_shape=(224, 224),
        batch_input_shape=(224, 224),
        ori_shape=(224, 224),
        scale_factor=(1.0, 1.0),
    )
    return [FXDataSample(metainfo=meta, **truth)]


@torch.no_grad()
def run(job: Job) -> None:
    """Compare backbone, heads, masks, memory and boxes with the authors'."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        job.note(VARIABLE, 'not set: nothing to compare with')
        return
    allow_tf32(False)
    golden = read_outputs(folder)
    configs = job.home / 'configs'
    model = build_golden(configs, read_weights(folder))[0].to(job.device)
    pyramid = model.extract_feat(golden['input.image'].to(job.device))
    pairs = {
        f'backbone, stage {stage}': (feature, golden[f'backbone.stage{stage}'])
        for stage, feature in enumerate(pyramid)
    }
    branch: Any = model.classification
    state = branch.encode(pyramid, [])
    for index, dataset in enumerate(CLS_HEADS):
        theirs = golden[f'cls.head{index}.logits']
        pairs[f'labels of {dataset}'] = branch(state, dataset, []), theirs
    samples = golden_sample()
    branch = model.segmentation
    state = branch.encode(pyramid, samples)
    for index in SEG_HEADS:
        ours = branch(state, HEADS[index], samples)
        theirs = golden[f'seg.head{index}.logits']
        pairs[f'masks of {HEADS[index]}'] = ours, theirs
    branch = model.localization
    state = branch.encode(pyramid, samples)
    pairs['memory of the encoder'] = state['memory'], golden['loc.memory']
    for index in LOC_HEADS:
        name, theirs = HEADS[index], f'loc.dec{index}'
        best = golden[f'{theirs}.topk_index']
        with Choices([best]).kept(model):
            ours = branch.decode(state, name, samples, denoise=False)
        with Choices([best]).kept(model):
            logits, boxes = branch(state, name, samples)
        for what, value, key in (
            ('proposals', ours['proposal_scores'], 'interm_logits'),
            ('scores', logits[1], 'pred_logits'),
            ('boxes', boxes[1], 'pred_boxes'),
        ):
            pairs[f'{what} of {name}'] = value, golden[f'{theirs}.{key}']
    for name, (ours, theirs) in pairs.items():
        job.check(name, relative_error(ours, theirs), LIMIT)
