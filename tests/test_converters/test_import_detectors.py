"""mmdet's DINO, OpenMMLab's backbones and the authors' Foundation X."""

import made_up_weights as m
import pytest
import torch
from made_up_weights import CONFIGS, RELEASED
from mmengine.registry import DefaultScope

import fx_mm.models  # noqa: F401
from fx_mm.analysis.stock_models import build_stock_dino
from fx_mm.apis import load_config, load_model
from fx_mm.converters.foreign_checkpoint import read_foreign
from fx_mm.converters.foundation_x import convert_foundation_x
from fx_mm.converters.importing import default_config, import_checkpoint
from fx_mm.registry import MODELS
from fx_mm.utils.errors import UserError

FX = 'foundation_x/foundation-x_swin-b_150c.py'
FX_PLUS = 'foundation_x_plus/foundation-x-plus_swin-b_100c.py'
BOXES = {'tasks': ['chestx_det/loc', 'siim_acr/loc']}
REST = ['siim_acr/loc', 'localization/label_embedding']
LAYERS = 2


@pytest.fixture(scope='module')
def dino_of():
    """Weights of mmdet's DINO; its layers may share their heads."""
    cache = {}

    def give(cfg, classes=13, shared=True):
        key = (classes, shared)
        if key not in cache:
            student = cfg.model.student
            stock = build_stock_dino(student, classes, [16, 32, 64])
            DefaultScope._instance_dict.clear()
            weights = {
                k: torch.randn_like(v) if v.is_floating_point() else v
                for k, v in stock.state_dict().items()
            }
            position = 'decoder.ref_point_head.layers.0.weight'
            # one fork encodes all four coordinates, upstream two
            weights[position] = weights[position][:, :512]
            for name in weights:
                if shared and '_branches.1.' in name:
                    other = name.replace('_branches.1.', '_branches.0.')
                    weights[name] = weights[other]
            cache[key] = weights
        return dict(cache[key])

    return give


def detector(weights, classes=()):
    meta = dict(dataset_meta=dict(classes=classes), epoch=12)
    return dict(meta=meta, state_dict=weights, message_hub={})


def rows_of(result):
    return {row.name: (row.matched, row.missing) for row in result.rows}


def test_dino_goes_to_every_dataset(bring, config, dino_of):
    cfg = config(FX)
    names = cfg.datasets.chestx_det.tasks.loc.classes
    weights = dino_of(cfg)
    result = bring(detector(weights, tuple(names)), FX, BOXES)
    rows = rows_of(result)
    for part in (
        'backbone',
        'localization/norms',
        'localization/neck',
        'localization/encoder',
        'localization/queries',
        'chestx_det/loc/head',
        'chestx_det/loc/decoder',
        'siim_acr/loc/decoder',
    ):
        assert rows[part][1] == 0, (part, result.report())
    # its classes are not those of this dataset: the boxes come, no labels
    assert rows['siim_acr/loc/head'] == (12, 4)
    with pytest.raises(UserError, match='label_embedding siim_acr/loc/head$'):
        result.check()
    result.check(REST)
    state = result.checkpoint['state_dict']
    for name in ('chestx_det', 'siim_acr'):
        own = f'localization.tasks.{name}.'
        for ours, theirs in (
            ('selection.0.bias', 'memory_trans_fc.bias'),
            ('selection.1.bias', 'memory_trans_norm.bias'),
            ('head.box_branch.4.bias', 'bbox_head.reg_branches.1.4.bias'),
            (
                'head.proposal_box_branch.4.bias',
                f'bbox_head.reg_branches.{LAYERS}.4.bias',
            ),
            (
                'decoder.layers.1.cross_attn.value_proj.bias',
                'decoder.layers.1.cross_attn.value_proj.bias',
            ),
        ):
            assert torch.equal(state[own + ours], weights[theirs])
    assert 'its rows are other classes' in result.report()
    assert 'any size' in result.report()


def test_dino_with_all_classes_is_whole(bring, config, dino_of, tmp_path):
    cfg = config(FX)
    names = tuple(cfg.datasets.chestx_det.tasks.loc.classes)
    only = {'tasks': ['chestx_det/loc']}
    result = bring(detector(dino_of(cfg), names), FX, only)
    result.check()
    result.save(tmp_path / 'dino.pth')
    model = load_model(config(FX, only), str(tmp_path / 'dino.pth'))
    # a permuted list is another list
    other = bring(detector(dino_of(cfg), names[::-1]), FX, only)
    assert rows_of(other)['chestx_det/loc/head'] == (12, 4)
    assert model.student.task_names == ('chestx_det/loc',)


def test_dino_into_the_shared_decoder(bring, config, dino_of):
    result = bring(detector(dino_of(config(FX))), FX_PLUS, BOXES)
    rows = rows_of(result)
    assert rows['localization/decoder'][1] == 0
    assert rows['siim_acr/loc/queries'] == (1, 0)


def test_layers_with_heads_of_their_own(bring, config, dino_of):
    weights = dino_of(config(FX), shared=False)
    result = bring(detector(weights), FX, BOXES)
    assert 'each of its layers has its own' in result.report()
    assert rows_of(result)['siim_acr/loc/head'] == (6, 10)


def test_dino_of_other_sizes_is_missing_not_cut(bring, config, dino_of):
    options = {**BOXES, 'model.student.localization.num_queries': 25}
    result = bring(detector(dino_of(config(FX))), FX, options)
    assert rows_of(result)['localization/queries'] == (0, 1)
    assert 'of the shape (20, 256), but the model has (25, 256)' in (
        result.report()
    )


def test_dino_into_classification_alone(bring, config, dino_of):
    result = bring(detector(dino_of(config(FX))), FX, {'tasks': ['rsna/cls']})
    assert rows_of(result)['backbone'][1] == 0
    assert 'the model has no localization branch' in result.report()


@pytest.mark.parametrize('below', ['backbone.', ''])
def test_a_classifier_of_mmpretrain(bring, config, below):
    cfg = config()
    model = MODELS.build(
        dict(cfg.model.student.backbone, _scope_='fx_mm', init_cfg=None)
    )
    weights = {
        below + k: torch.randn_like(v) if v.is_floating_point() else v
        for k, v in model.state_dict().items()
        if not k.startswith('norm')
    }
    weights[f'{below}norm3.weight'] = torch.randn(64)
    weights[f'{below}norm3.bias'] = torch.randn(64)
    if below:
        weights['head.fc.weight'] = torch.zeros(5, 64)
    result = bring(dict(state_dict=weights))
    rows = rows_of(result)
    assert rows['backbone'][1] == 0 and rows['classification/norms'] == (2, 0)
    assert 'does not say which it is from' in result.report()
    if below:
        assert result.unused['head.fc.weight'] == 'not of the backbone'


# ---------------------------------------------------------------- Foundation X


@pytest.fixture(scope='module')
def authors():
    """Tiny weights under all of the authors' names, teacher and student."""
    swin = m.Swin(heads=(1, 1, 1, 2), window=7, size=224)
    shapes = m.foundation_x(swin, layers=LAYERS, hidden=16, queries=20)
    index = MODELS.build(
        dict(
            type='fx_mm.FusedSwinTransformer', embed_dims=8, num_heads=[1] * 4
        )
    ).state_dict()['stages.0.blocks.0.attn.w_msa.relative_position_index']
    sets = []
    for seed in (0, 1):
        weights = m.filled(shapes, seed)
        for name in weights:
            if name.endswith('relative_position_index'):
                weights[name] = index
            if name.endswith('num_batches_tracked'):
                weights[name] = torch.tensor(7)
        for name in weights:
            weights[name] = weights[first_alias(name)]
        sets.append(weights)
    return sets


def first_alias(name):
    """The authors' key that holds the same tensor."""
    words = name.split('.')
    if 'smooth_conv' in name:
        words[4] = '0'
    elif words[0] in ('bbox_embed', 'class_embed'):
        words[:3] = ['transformer', 'decoder', words[1], words[0], '0']
    elif words[0] in ('bbox_embed_', 'class_embed_'):
        words[2] = '0'
    elif name.startswith('transformer.decoder') and '_embed' in words[3]:
        words[4] = '0'
    return '.'.join(words)


RELEASED_TINY = {
    'model.student.backbone.num_heads': (1, 1, 1, 2),
    'model.student.backbone.window_size': 7,
    'model.student.localization.encoder.num_layers': LAYERS,
}


def test_the_authors_checkpoint_loads_whole(bring, config, authors, tmp_path):
    student, teacher = (
        {f'module.{name}': value for name, value in weights.items()}
        for weights in authors
    )
    content = dict(
        model=student, teacher_model=teacher, optimizer={}, epoch=300
    )
    result = bring(content, RELEASED, RELEASED_TINY, weights='both')
    result.check()
    report = result.report()
    assert 'Foundation X of the authors, the teacher and the student' in report
    assert 'chestx_det/seg: the authors read the 13 masks' in report
    assert 'the same as another weight of the file' in report
    assert 'never apply this head' in report
    assert len(result.checkpoint['meta']['tasks']) == 20
    result.save(tmp_path / 'fx.pth')
    cfg = config(RELEASED, RELEASED_TINY)
    model = load_model(cfg, str(tmp_path / 'fx.pth'))
    for name, weights in (('student', authors[0]), ('teacher', authors[1])):
        part = getattr(model, name)
        wanted = convert_foundation_x(weights, part).state_dict
        assert part.state_dict().keys() == wanted.keys()
        for key, value in part.state_dict().items():
            assert torch.equal(value, wanted[key]), key
        head = part.classification.heads.mimic_cxr.fc.weight
        key = 'backbone.0.classification_heads.10.weight'
        assert torch.equal(head, weights[key])


def test_classes_of_foundation_x_are_compared(bring, authors):
    names = ['Lung Opacity', 'Normal', 'No Lung Opacity/Not Normal']
    options = {**RELEASED_TINY, 'datasets.rsna.tasks.cls.classes': names}
    with pytest.raises(UserError, match='"rsna/cls" in the checkpoint has'):
        bring(dict(model=authors[0]), RELEASED, options)


def test_key_names_and_shapes_of_the_authors():
    shapes = m.foundation_x()
    assert len(shapes) == 2340
    parameters = {
        first_alias(name): shape
        for name, shape in shapes.items()
        if not name.endswith(
            ('_index', 'running_mean', 'running_var', 'batches_tracked')
        )
    }
    # one set of class outputs outside and one inside of each decoder
    count = sum(torch.Size(shape).numel() for shape in parameters.values())
    assert count == 178_568_276


@pytest.mark.slow
def test_the_authors_checkpoint_in_full_size(tmp_path):
    weights = m.hollow(m.foundation_x())
    index = MODELS.build(
        dict(
            type='fx_mm.FusedSwinTransformer', embed_dims=8, num_heads=[1] * 4
        )
    ).state_dict()['stages.0.blocks.0.attn.w_msa.relative_position_index']
    for name in weights:
        if name.endswith('relative_position_index'):
            weights[name] = index
    torch.save(dict(model=weights), tmp_path / 'fx.pth')
    source = read_foreign(str(tmp_path / 'fx.pth'))
    name, options = default_config(source)
    cfg = load_config(str(CONFIGS / name), options)
    import_checkpoint(source, cfg).check()
