"""The tools as a user starts them: exit code, report, one sentence."""

import os

import made_up_weights as m
import pytest
import torch
from made_up_weights import CONFIGS, SMALL_SWIN

ARK = CONFIGS / 'ark' / 'ark6_swin-b_200c.py'


class Payload:
    """Unpickled carelessly, it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture(autouse=True)
def own_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def options(**more):
    values = {**SMALL_SWIN, **more}
    pairs = (f'{key}={value}' for key, value in values.items())
    return ['--cfg-options', *(pair.replace(' ', '') for pair in pairs)]


def test_convert_predict_publish_and_export(run, tmp_path):
    torch.save(m.filled(m.ark()), 'ark.pth.tar')
    code, out, err = run(
        'model_converters/convert', 'ark.pth.tar', 'fx.pth', '--config', ARK,
        *options(),
    )  # fmt: skip
    assert (code, err) == (0, '')
    assert 'mimic_cxr/cls/head' in out and 'shift_last_stage=False' in out
    assert f'written to fx.pth, for {ARK} with --cfg-options' in out

    code, out, err = run(
        'model_converters/publish', 'fx.pth', 'published/ark'
    )  # fmt: skip
    assert (code, err) == (0, '')
    (published,) = (tmp_path / 'published').iterdir()
    assert out == f'written to published/{published.name}\n'

    code, out, err = run(
        'model_converters/export_backbone', published, 'timm.pth', '--to',
        'timm',
    )  # fmt: skip
    assert (code, err) == (0, '')
    weights = torch.load('timm.pth', weights_only=True)
    assert 'layers.3.downsample.norm.weight' in weights

    code, _, err = run(
        'model_converters/export_backbone', published, 'timm.pth', '--to',
        'timm',
    )  # fmt: skip
    assert (code, err) == (
        1, 'error: timm.pth exists already; give another name.\n',
    )  # fmt: skip


def test_the_report_comes_before_the_refusal(run, tmp_path):
    torch.save(m.filled(m.new_timm()), 'timm.pth')
    args = ['model_converters/convert', 'timm.pth', 'out.pth']
    code, _, err = run(*args)
    assert code == 1 and 'name the config of the model' in err
    args += ['--config', ARK]
    code, out, err = run(*args, *options())
    assert code == 1 and not (tmp_path / 'out.pth').exists()
    assert 'the classifier of other labels' in out
    wanted = '--allow-missing classification/projector classification/head'
    assert err.count('\n') == 1 and err.strip().endswith(wanted)
    code, out, err = run(*args, *wanted.split(), *options())
    assert (code, err) == (0, '')


def test_a_pickle_needs_trust(run, tmp_path):
    planted = tmp_path / 'planted'
    torch.save(dict(teacher=m.filled(m.ark()), x=Payload(planted)), 'x.pth')
    args = ['model_converters/convert', 'x.pth', 'out.pth', '--config', ARK]
    code, _, err = run(*args, *options())
    assert code == 1 and 'load it with --trust' in err
    assert not planted.exists()
    code, out, err = run(*args, '--trust', *options())
    assert (code, err) == (0, '') and 'Ark, the teacher' in out


def test_a_planted_config_is_refused_even_with_trust(run, tmp_path):
    content = dict(meta=dict(config='raise SystemExit'), state_dict={})
    torch.save(content, 'x.pth')
    for tool, more in (
        ('convert', ['--trust']),
        ('publish', ['--trust']),
        ('export_backbone', ['--to', 'timm']),
    ):
        code, _, err = run(f'model_converters/{tool}', 'x.pth', 'out', *more)
        assert code == 1 and 'it is refused' in err, tool
    assert not (tmp_path / 'out').exists()


def test_published_options_are_printed(run):
    mlp = m.filled(m.ark(widths=m.ARK_WIDTHS[1:], projector='mlp'))
    torch.save(mlp, 'ark5.pth')
    key = 'model.student.classification.projector'
    tasks = 'tasks=chexpert/cls,nih14/cls,rsna/cls,vindr_cxr/cls,shenzhen/cls'
    code, out, err = run(
        'model_converters/convert', 'ark5.pth', 'out.pth', '--config', ARK,
        *options(**{key: 'mlp'}), tasks,
    )  # fmt: skip
    assert (code, err) == (0, '')
    assert out.strip().endswith(f'{key}=mlp {tasks}')
