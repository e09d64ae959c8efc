"""Ark, timm, Microsoft and SimMIM, from made-up files of their form."""

import dataclasses

import made_up_weights as m
import pytest
import torch
from made_up_weights import ARK, CONFIGS, RELEASED

from fx_mm.apis import load_config, load_model
from fx_mm.converters.classes import (
    ARK_6,
    BOX_CLASSES,
    CLASSES,
    MASK_CLASSES,
    order_ark_heads,
)
from fx_mm.converters.foreign_checkpoint import read_foreign
from fx_mm.converters.importing import default_config, import_checkpoint
from fx_mm.tasks import (
    ClassificationKind,
    LocalizationKind,
    SegmentationKind,
    TaskTable,
)
from fx_mm.utils.errors import UserError
from fx_mm.utils.weight_files import dump_safetensors

START = ['classification/head', 'classification/projector']


def with_module(weights):
    return {f'module.{name}': value for name, value in weights.items()}


def rows_of(result):
    return {row.name: (row.matched, row.missing) for row in result.rows}


# ------------------------------------------------------------------- classes


@pytest.mark.parametrize('name', [ARK, RELEASED])
def test_the_shipped_configs_have_the_authors_classes(config, name):
    kinds = {
        ClassificationKind: CLASSES,
        LocalizationKind: BOX_CLASSES,
        SegmentationKind: MASK_CLASSES,
    }
    for task in TaskTable.from_cfg(config(name)):
        assert task.classes == kinds[task.kind][task.dataset], task.name


def test_mimic_is_alphabetical_and_rsna_begins_with_normal():
    assert list(CLASSES['mimic_cxr']) == sorted(CLASSES['chexpert'])
    assert CLASSES['rsna'][0] == 'Normal'


def test_published_orders_of_arks_heads():
    assert order_ark_heads([14, 14, 14, 3, 6, 1]) == ARK_6
    assert order_ark_heads([14, 14, 3, 6, 1]) == ARK_6[1:]
    assert order_ark_heads([14, 14, 14, 3, 6, 1, 3])[-1] == 'covidx'
    # equal widths: only the user knows
    swapped = ('chexpert', 'mimic_cxr', *ARK_6[2:])
    assert order_ark_heads([14, 14, 14, 3, 6, 1], swapped) == swapped


@pytest.mark.parametrize(
    'widths, datasets, message',
    [
        ([14, 3], None, '2 heads with 14, 3 outputs, which are not those'),
        ([14, 3], ['rsna'], 'names rsna, but the checkpoint has 2 heads'),
        ([3, 3], ['rsna', 'rsna'], 'name each once'),
        ([14, 6], ['nih14', 'rsna'], 'rsna, which has 3 classes, to a head'),
    ],
)
def test_heads_that_do_not_fit(widths, datasets, message):
    with pytest.raises(UserError, match=message):
        order_ark_heads(widths, datasets)


# ----------------------------------------------------------------------- Ark


@pytest.mark.parametrize('projector', ['linear', 'mlp', 'none'])
@pytest.mark.parametrize('form', ['flat', 'containers'])
def test_ark_loads_whole(bring, tmp_path, config, projector, form):
    weights = m.filled(m.ark(projector=projector))
    content = weights
    if form == 'containers':
        student = m.filled(m.ark(projector=projector), seed=1)
        content = dict(
            epoch=50,
            lossMIN=[0.1] * 6,
            teacher=with_module(weights),
            state_dict=with_module(student),
            optimizer={},
            scheduler={},
        )
    options = {'model.student.classification.projector': projector}
    result = bring(content, ARK, options)
    result.check()
    result.save(tmp_path / 'out.pth')
    cfg = config(ARK, options)
    model = load_model(cfg, str(tmp_path / 'out.pth'))
    assert model.predictors == (
        ('teacher',) if form == 'containers' else ('student',)
    )
    heads = model.active.classification.heads
    for index, name in enumerate(ARK_6):
        key = f'omni_heads.{index}.weight'
        assert torch.equal(heads[name].fc.weight, weights[key])
    norm = model.student.classification.norms[0]
    assert torch.equal(norm.weight, weights['norm.weight'])
    tasks = {t['dataset']: t for t in result.checkpoint['meta']['tasks']}
    assert tasks['mimic_cxr']['classes'][0] == 'Atelectasis'
    assert list(tasks) == list(ARK_6)


def test_ark_forward_is_the_authors(bring):
    """Norm, mean over tokens, projector, heads."""
    weights = m.filled(m.ark())
    result = bring(weights)
    assert not any(row.missing for row in result.rows)
    state = result.checkpoint['state_dict']
    tokens = torch.randn(4, 64)
    vector = torch.nn.functional.linear(
        tokens.mean(0), weights['projector.weight'], weights['projector.bias']
    )
    ours = torch.nn.functional.linear(
        tokens.mean(0),
        state['classification.projector.weight'],
        state['classification.projector.bias'],
    )
    assert torch.equal(vector, ours)


def test_what_ark_does_not_need_is_named(bring):
    text = bring(m.filled(m.ark())).report()
    for line in (
        'Ark, its only weights',
        'backbone                      ',
        'follows from the window',
        'follows from the size of the image',
        'head                the classifier of other labels               2',
        'the heads are taken for mimic_cxr, chexpert, nih14, rsna',
        'shift_last_stage=False in the config',
        'and the model does the same',
    ):
        assert line in text, text


def test_student_or_teacher_or_both(bring, config, tmp_path):
    sets = [m.filled(m.ark(), seed=i) for i in (0, 1)]
    content = dict(state_dict=sets[0], teacher=sets[1])
    key = 'classification.projector.bias'
    for which, wanted in ((None, 1), ('teacher', 1), ('student', 0)):
        state = bring(content, weights=which).checkpoint['state_dict']
        assert torch.equal(state[key], sets[wanted]['projector.bias'])
    both = bring(content, weights='both')
    assert 'the teacher and the student' in both.report()
    both.save(tmp_path / 'both.pth')
    model = load_model(config(), str(tmp_path / 'both.pth'))
    for name, index in (('student', 0), ('teacher', 1)):
        bias = getattr(model, name).classification.projector.bias
        assert torch.equal(bias, sets[index]['projector.bias'])


def test_sets_that_the_file_has_not(bring):
    weights = m.filled(m.ark())
    with pytest.raises(UserError, match='leave out --weights'):
        bring(weights, weights='teacher')
    with pytest.raises(UserError, match='no student, only teacher'):
        bring(dict(teacher=weights), weights='both')


def test_another_projector_is_refused(bring):
    with pytest.raises(UserError, match='classification.projector=mlp'):
        bring(m.filled(m.ark(projector='mlp')))


def test_arks_head_with_other_classes_is_refused(bring):
    chexpert = list(CLASSES['chexpert'])
    options = {'datasets.mimic_cxr.tasks.cls.classes': chexpert}
    with pytest.raises(UserError, match='"mimic_cxr/cls" in the checkpoint'):
        bring(m.filled(m.ark()), options=options)


def test_another_pooling_is_refused(bring):
    options = {'model.student.classification.pool': 'max'}
    with pytest.raises(UserError, match='average of the last stage'):
        bring(m.filled(m.ark()), options=options)


def test_heads_under_other_datasets(bring):
    order = ['chexpert', 'mimic_cxr', *ARK_6[2:]]
    weights = m.filled(m.ark())
    state = bring(weights, datasets=order).checkpoint['state_dict']
    name = 'classification.heads.chexpert.fc.weight'
    assert torch.equal(state[name], weights['omni_heads.0.weight'])
    with pytest.raises(UserError, match='leave it out'):
        bring(m.filled(m.new_timm()), datasets=order)


def test_ark_5_lacks_mimic(bring):
    result = bring(m.filled(m.ark(widths=m.ARK_WIDTHS[1:])))
    with pytest.raises(UserError, match='--allow-missing mimic_cxr/cls'):
        result.check()
    result.check(['mimic_cxr/cls'])
    tasks = [t['dataset'] for t in result.checkpoint['meta']['tasks']]
    assert tasks == list(ARK_6[1:])


def test_fewer_tasks_ask_for_less(bring):
    options = {'tasks': ['rsna/cls']}
    result = bring(m.filled(m.ark()), options=options)
    result.check()
    assert 'the model has no task shenzhen/cls' in result.report()


def test_ark_as_the_start_of_foundation_x(bring, config, tmp_path):
    """As the authors did: the backbone alone."""
    result = bring(m.filled(m.ark()), RELEASED)
    assert 'the model lacks the projector' in result.report()
    assert 'shift_last_stage=False.' in result.report()
    rows = rows_of(result)
    assert rows['backbone'][1] == 0 and rows['classification/norms'] == (2, 0)
    with pytest.raises(UserError) as error:
        result.check()
    words = str(error.value).partition('--allow-missing ')[2].split()
    assert words == ['classification/head', 'localization', 'segmentation']
    result.check(words)
    result.save(tmp_path / 'start.pth')
    with pytest.raises(UserError, match='lacks .* weights'):
        load_model(config(RELEASED), str(tmp_path / 'start.pth'))


def test_default_configs(tmp_path):
    def source(weights):
        path = tmp_path / 'x.pth'
        torch.save(weights, path)
        return read_foreign(str(path))

    base = m.hollow(m.ark(m.SWIN_B))
    assert default_config(source(base)) == (ARK, {})
    mlp = m.hollow(m.ark(m.SWIN_B, m.ARK_WIDTHS[1:], 'mlp'))
    name, options = default_config(source(mlp))
    assert name == ARK
    assert options['model.student.classification.projector'] == 'mlp'
    assert options['tasks'] == [f'{name}/cls' for name in ARK_6[1:]]
    large = m.hollow(m.ark(m.SWIN_L_768))
    assert default_config(source(large))[0].startswith('ark/ark-plus')
    fx = m.hollow(m.foundation_x())
    assert default_config(source(dict(model=fx)))[0] == RELEASED
    for weights, message in (
        (m.hollow(m.new_timm(m.SWIN_B)), 'no config of its own'),
        (m.hollow(m.ark()), 'no config of its own'),
        (m.hollow(m.ark(m.SWIN_B, (*m.ARK_WIDTHS, 3))), 'head for covidx'),
    ):
        with pytest.raises(UserError, match=message):
            default_config(source(weights))


# --------------------------------------------------- timm, Microsoft, SimMIM


@pytest.mark.parametrize(
    'content, family',
    [
        (m.new_timm, 'timm'),
        (m.old_timm, 'microsoft'),
        (lambda: dict(model=m.old_timm()), 'microsoft'),
        (lambda: dict(model=m.simmim()), 'simmim'),
    ],
)
def test_a_backbone_loads(bring, content, family):
    content = content()
    inner = content.get('model', content)
    weights = m.filled(inner)
    result = bring(dict(model=weights) if 'model' in content else weights)
    assert result.source.family == family
    assert rows_of(result)['backbone'][1] == 0
    with pytest.raises(UserError, match='classification/head$'):
        result.check(['classification/projector'])
    result.check(START)
    assert result.checkpoint['meta']['tasks'] == []
    prefix = 'encoder.' if family == 'simmim' else ''
    state = result.checkpoint['state_dict']
    qkv = 'blocks.1.attn.qkv.weight'
    assert torch.equal(
        state[f'backbone.stages.2.{qkv.replace("attn", "attn.w_msa")}'],
        weights[f'{prefix}layers.2.{qkv}'],
    )


def test_another_window_is_interpolated_and_named(bring):
    swin = dataclasses.replace(m.TINY, window=3, size=96)
    result = bring(dict(model=m.filled(m.simmim(swin))))
    result.check(START)
    assert '8 tables of relative positions are interpolated' in result.report()
    assert 'from window 3 to 2' in result.report()


def test_half_precision_becomes_whole(bring):
    weights = {k: v.half() for k, v in m.filled(m.new_timm()).items()}
    state = bring(weights).checkpoint['state_dict']
    assert state['backbone.patch_embed.norm.bias'].dtype == torch.float32


def test_a_window_shift_that_differs_is_named(bring):
    options = {
        'model.student.backbone.shift_last_stage': True,
        'tasks': ['rsna/cls'],
    }
    text = bring(m.filled(m.new_timm()), options=options).report()
    assert 'set model.student.backbone.shift_last_stage=False' in text
    options = {'task_defaults.cls.img_size': 128}
    text = bring(m.filled(m.new_timm()), options=options).report()
    assert 'set model.student.backbone.shift_last_stage=True' in text


# --------------------------------------------------------------- wrong files


@pytest.mark.parametrize(
    'content, message',
    [
        ({}, 'holds no weights'),
        (dict(epoch=3), 'holds no weights'),
        ([1], 'holds a list and not weights by name'),
        ({'conv1.weight': torch.zeros(1)}, 'no known kind .it has conv1.wei'),
        ({'student.backbone.x': torch.zeros(1)}, 'one of fx_mm already'),
        ({'regression.heads.a.mean': torch.zeros(1)}, 'one of fx_mm already'),
        (
            {'layers.0.blocks.0.attn.logit_scale': torch.zeros(1)},
            'is a Swin V2',
        ),
        (dict(meta=dict(config='import os'), state_dict={}), 'refused'),
    ],
)
def test_wrong_files(bring, content, message):
    with pytest.raises(UserError, match=message):
        bring(content)


def test_a_planted_config_does_not_run(bring, tmp_path):
    planted = tmp_path / 'planted'
    code = f'import os\nos.mkdir({str(planted)!r})'
    content = dict(meta=dict(config=code), state_dict=m.filled(m.ark()))
    with pytest.raises(UserError, match='execute as Python; it is refused'):
        bring(content)
    assert not planted.exists()


@pytest.mark.parametrize('key', ['layers.0.blocks.0.attn.gate', 'x.weight'])
def test_an_unknown_weight_is_refused(bring, key):
    weights = m.filled(m.ark()) | {key: torch.zeros(1)}
    with pytest.raises(UserError, match=f'"{key}" is not known from a Swin'):
        bring(weights)


def test_a_weight_of_another_shape_is_missing(bring):
    weights = m.filled(m.ark())
    key = 'layers.1.blocks.0.mlp.fc1.bias'
    weights[key] = torch.zeros(3)
    result = bring(weights)
    assert 'of the shape (3,), but the model has (64,)' in result.unused[key]
    with pytest.raises(UserError, match='lacks 1 weights .* backbone$'):
        result.check()


def test_values_that_are_not_finite(bring):
    weights = m.filled(m.ark())
    weights['norm.weight'][0] = float('nan')
    with pytest.raises(UserError, match='"norm.weight" that are not finite'):
        bring(weights)


def test_an_unknown_part_is_refused(bring):
    result = bring(m.filled(m.ark(widths=m.ARK_WIDTHS[1:])))
    with pytest.raises(UserError, match='did you mean "mimic_cxr/cls"'):
        result.check(['mimic_cxr/clss'])


def test_a_file_is_not_written_over(bring, tmp_path):
    result = bring(m.filled(m.ark()))
    (tmp_path / 'out.pth').write_text('mine')
    with pytest.raises(UserError, match='exists already'):
        result.save(tmp_path / 'out.pth')
    with pytest.raises(UserError, match='cannot be written'):
        result.save(tmp_path / 'out.pth' / 'x.pth')


@pytest.mark.slow
@pytest.mark.parametrize(
    'swin, widths, projector',
    [
        (m.SWIN_B, m.ARK_WIDTHS, 'mlp'),
        (m.SWIN_B, m.ARK_WIDTHS[1:], 'linear'),
        (m.SWIN_L_768, m.ARK_WIDTHS, 'linear'),
    ],
)
def test_published_arks_in_full_size(tmp_path, swin, widths, projector):
    path = tmp_path / 'ark.pth.tar'
    torch.save(m.hollow(m.ark(swin, widths, projector)), path)
    source = read_foreign(str(path))
    name, options = default_config(source)
    result = import_checkpoint(
        source, load_config(str(CONFIGS / name), options)
    )
    result.check()


@pytest.mark.parametrize(
    'prefix', ['_orig_mod.', 'module.', 'net.model.', 'module._orig_mod.']
)
@pytest.mark.parametrize('container', ['model_state_dict', 'state_dict_ema'])
def test_wrapped_weights_are_the_same(bring, prefix, container):
    weights = m.filled(m.ark())
    plain = bring(weights).checkpoint['state_dict']
    wrapped = {prefix + name: value for name, value in weights.items()}
    found = bring({container: wrapped, 'epoch': 3}).checkpoint
    assert found['state_dict'].keys() == plain.keys()
    for name, value in found['state_dict'].items():
        assert torch.equal(value, plain[name])
    average = container == 'state_dict_ema'
    assert found['meta'].get('predict_on') == ('teacher' if average else None)


def test_safetensors_are_a_source(tmp_path, config):
    weights = m.filled(m.ark())
    path = tmp_path / 'model.safetensors'
    path.write_bytes(dump_safetensors(weights))
    result = import_checkpoint(read_foreign(str(path)), config())
    result.check()
    result.save(tmp_path / 'out.safetensors')
    loaded = load_model(config(), str(tmp_path / 'out.safetensors'))
    norm = loaded.active.classification.norms[0]
    assert torch.equal(norm.weight, weights['norm.weight'])
