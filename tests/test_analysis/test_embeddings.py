"""Embeddings: the pooled vectors themselves, and their file."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import DefaultScope

from fx_mm.analysis.embeddings import Embeddings, embed
from fx_mm.apis import load_config
from fx_mm.datasets import TaskDataset
from fx_mm.tasks import TaskTable
from fx_mm.utils.errors import UserError


@pytest.fixture(scope='module')
def vectors(ark):
    """What the layers give, by hand, for each image of chexpert/val."""
    cfg = load_config(ark.config, ark.tiny, ark.root)
    found = {}
    with DefaultScope.overwrite_default_scope('fx_mm'):
        task = TaskTable.from_cfg(cfg)['chexpert/cls']
        data = TaskDataset(task, 'val')
        ark.model.eval()
        for i in range(len(data)):
            sample = data[i]
            batch = ark.model.data_preprocessor(
                dict(
                    inputs=[sample['inputs']],
                    data_samples=[sample['data_samples']],
                )
            )
            crop = batch['inputs'][..., 4:36, 4:36]
            for predict_on in ('teacher', 'student'):
                model = getattr(ark.model, predict_on)
                branch = model.classification
                with torch.no_grad():
                    last = model.backbone(crop)[-1]
                    tokens = last.flatten(2).transpose(1, 2)
                    norm = branch.norms[0]
                    pooled = F.layer_norm(
                        tokens, (len(norm.weight),), norm.weight, norm.bias
                    ).mean(1)
                    found.setdefault(('pooled', predict_on), []).append(pooled)
                    projected = branch.projector(pooled)
                    key = 'projected', predict_on
                    found.setdefault(key, []).append(projected)
    return {key: torch.cat(value).numpy() for key, value in found.items()}


@pytest.mark.parametrize('predict_on', ['teacher', 'student'])
@pytest.mark.parametrize('layer', ['pooled', 'projected'])
def test_vectors_are_the_layers(cfg, ark, vectors, layer, predict_on):
    found = embed(
        cfg, ark.checkpoint, layer, predict_on, splits=['val'], batch_size=3
    )
    own = found.datasets == 'chexpert'
    np.testing.assert_allclose(
        found.vectors[own], vectors[layer, predict_on], atol=2e-5
    )


def test_names_labels_splits_and_file(cfg, ark, tmp_path):
    found = embed(cfg, ark.checkpoint)
    file = found.save(tmp_path / 'e.npz')
    again = Embeddings.load(file)
    for key in ('vectors', 'labels', 'names', 'splits', 'patients'):
        np.testing.assert_array_equal(getattr(again, key), getattr(found, key))
    assert again.meta == found.meta and again.classes == found.classes
    assert found.meta['layer'] == 'pooled'
    assert found.meta['checkpoint'] == 'ark.pth'
    assert list(found.meta['datasets']) == ['chexpert', 'shenzhen']

    table = Path(ark.root) / 'chexpert' / 'prepared' / 'test.csv'
    with table.open() as lines:
        rows = list(csv.DictReader(lines))
    at = (found.datasets == 'chexpert') & (found.splits == 'test')
    assert found.names[at].tolist() == [row['image'] for row in rows]
    assert found.patients[at].tolist() == [row['patient'] for row in rows]
    edema = found.labels[at][:, found.classes.index('Edema')]
    assert edema.tolist() == [float(row['Edema']) for row in rows]
    # classes of other datasets are unknown
    assert np.isnan(found.labels[at][:, found.classes.index('TB')]).all()
    with np.load(file, allow_pickle=False) as content:
        assert set(content.files) == {
            *('embeddings', 'labels', 'classes', 'names', 'split'),
            *('dataset', 'patient', 'meta'),
        }


def test_heads_need_not_be_in_the_checkpoint(cfg, ark, tmp_path):
    loaded = torch.load(ark.checkpoint, weights_only=True)
    weights = loaded['state_dict']
    for name in list(weights):
        if 'heads.' in name:
            del weights[name]
    file = str(tmp_path / 'headless.pth')
    torch.save(loaded, file)
    one = embed(cfg, file, splits=['val'])
    two = embed(cfg, ark.checkpoint, splits=['val'])
    np.testing.assert_array_equal(one.vectors, two.vectors)
    del weights['student.backbone.patch_embed.projection.weight']
    torch.save(loaded, file)
    with pytest.raises(UserError, match='lacks 1 weights of the model'):
        embed(cfg, file)


def test_mistakes(cfg, ark, tmp_path):
    with pytest.raises(UserError, match="layer is 'logits'"):
        embed(cfg, ark.checkpoint, layer='logits')
    with pytest.raises(UserError, match="splits is 'dev'"):
        embed(cfg, ark.checkpoint, splits=['dev'])
    with pytest.raises(UserError, match='batch_size is 0'):
        embed(cfg, ark.checkpoint, batch_size=0)
    cfg.model.student.classification.projector = 'none'
    with pytest.raises(UserError, match='model has no projector'):
        embed(cfg, ark.checkpoint, layer='projected')
    file = tmp_path / 'other.npz'
    np.savez(file, x=np.zeros(3))
    with pytest.raises(UserError, match='holds no embeddings'):
        Embeddings.load(file)
