"""Numbers as an ONNX file, in their unit; needs onnxruntime."""

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from small_run import REPO

from fx_mm.apis import FoundationXInferencer, expand_config, load_config
from fx_mm.deployment import export_onnx
from fx_mm.models import with_tasks
from fx_mm.registry import MODELS

onnxruntime = pytest.importorskip('onnxruntime')
CONFIG = REPO / 'configs/phantom/regression_tiny_phantom.py'
TASK = 'phantom_c/reg'
MEAN, STD = 1000.0, 400.0
pytestmark = pytest.mark.slow


@pytest.mark.parametrize('loss', ['MaskedSmoothL1Loss', 'MaskedGaussianLoss'])
def test_numbers_are_in_the_unit_of_the_target(tmp_path, loss):
    cfg = load_config(str(CONFIG))
    cfg.task_defaults.reg.tta = None  # a graph has one view
    cfg.model.student.regression.loss = dict(type=loss)
    torch.manual_seed(0)
    init_default_scope('fx_mm')
    expanded = expand_config(cfg)
    model = MODELS.build(with_tasks(expanded.model, expanded.task_table))
    head = model.teacher.regression.heads.phantom_c
    head.mean.fill_(MEAN)
    head.std.fill_(STD)
    checkpoint, out = tmp_path / 'iter_7.pth', tmp_path / 'model.onnx'
    torch.save(dict(state_dict=model.state_dict(), meta={}), checkpoint)

    description = export_onnx(cfg, checkpoint, out)
    assert description['difference'][TASK] < 1e-5
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 64, 64))
    images = images.astype(np.uint8)
    session = onnxruntime.InferenceSession(str(out))
    (found,) = session.run([TASK], {'images': images})
    infer = FoundationXInferencer(cfg, checkpoint)
    infer.amp_dtype = None
    wanted = [r[TASK].values for r in infer([image[0] for image in images])]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert found.shape == (3, 1) and 0 < np.ptp(found) < 10 * STD
    assert np.abs(found - MEAN).max() < 10 * STD
