"""The tools as users call them, one after the other."""

import importlib.util
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from fx_mm.analysis.embeddings import Embeddings
from fx_mm.utils.cli import run_tool

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(monkeypatch, capsys):
    """Return (exit code, standard output, standard error) of a tool."""

    def call(tool, *args):
        path = ROOT / 'tools' / 'analysis_tools' / f'{tool}.py'
        spec = importlib.util.spec_from_file_location(tool, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, args)])
        with pytest.raises(SystemExit) as end:
            run_tool(module.main)
        out = capsys.readouterr()
        return end.value.code, out.out, out.err

    return call


def test_from_images_to_gaps(run, ark, words, tmp_path):
    """Embed, probe, and compare groups on the probe's scores."""
    file = tmp_path / 'emb.npz'
    code, out, _ = run('embed', ark.config, ark.checkpoint, file, *words)
    assert code == 0
    assert f'{file}: ' in out and '(pooled, teacher) of chexpert, shenz' in out

    code, out, _ = run('linear_probe', file, '--resamples', 50)
    assert code == 0 and '## shenzhen' in out
    content = json.loads((tmp_path / 'linear_probe.json').read_text())
    assert content['layer'] == 'pooled' and content['predict_on'] == 'teacher'
    probe = content['datasets']['shenzhen']
    embeddings = Embeddings.load(file)
    at = (embeddings.datasets == 'shenzhen') & (embeddings.splits == 'test')
    positive, negative = probe['classes']['TB']['counts']['test']
    assert positive + negative == at.sum()
    assert probe['mean'] == probe['classes']['TB']['test']
    assert 0 <= probe['mean']['low'] <= probe['mean']['value'] <= 1
    assert '| mean |' in (tmp_path / 'linear_probe.md').read_text()

    table = Path(ark.root) / 'shenzhen' / 'prepared' / 'test.csv'
    code, out, err = run(
        *('subgroups', tmp_path / 'shenzhen_scores.csv', table),
        *('--ages', 50, '--resamples', 50),
    )
    assert code == 0, err
    content = json.loads((tmp_path / 'subgroups.json').read_text())
    assert content['images'] == at.sum()
    sexes = content['groups']['sex']['TB']
    assert set(sexes) == {'all', 'female', 'male'}
    assert sexes['all']['auc']['value'] == pytest.approx(
        probe['mean']['value'], abs=1e-3
    )
    total = sum(sexes[key]['positive'] for key in ('female', 'male'))
    assert total == sexes['all']['positive'] == positive
    assert set(content['groups']['age']['TB']) == {
        *('all', 'below 50', 'from 50'),
    }

    blind = tmp_path / 'blind.csv'
    names = embeddings.names[at]
    blind.write_text('\n'.join(['image,TB', *(f'{n},1' for n in names)]))
    code, _, err = run('subgroups', tmp_path / 'shenzhen_scores.csv', blind)
    assert code == 1 and 'neither two sexes nor two age groups' in err


def test_zero_shot(run, ark, words, tmp_path):
    target = ROOT / 'configs' / '_base_' / 'datasets' / 'siim_acr.py'
    out_dir = tmp_path / 'out'
    code, out, err = run(
        *('zero_shot', ark.config, ark.checkpoint, target, '--out', out_dir),
        *('--resamples', 50, '--split', 'train', *words),
    )
    assert code == 0, err
    content = json.loads((out_dir / 'zero_shot.json').read_text())
    assert list(content['classes']) == ['Pneumothorax']
    found = content['classes']['Pneumothorax']
    assert list(found['heads']) == ['chexpert/cls/Pneumothorax']
    assert content['refused'] == content['backbone_saw'] == {}
    assert content['without_head'] == []
    value = found['heads']['chexpert/cls/Pneumothorax']['value']
    assert value is None or math.isfinite(value)
    rows = (out_dir / 'scores.csv').read_text().splitlines()
    assert rows[0] == (
        'image,Pneumothorax,chexpert/cls/Pneumothorax,label:Pneumothorax'
    )
    assert len(rows) == content['images'] + 1
    scores = np.array(
        [[float(x) for x in r.split(',')[1:3]] for r in rows[1:]]
    )
    assert (scores[:, 0] == scores[:, 1]).all() and len(set(scores[:, 0])) > 1

    # names alone, and a refusal
    target = target.with_name('shenzhen.py')
    args = ('zero_shot', ark.config, ark.checkpoint, target)
    code, _, err = run(*args, *words)
    assert code == 1
    assert 'shenzhen/cls/TB is refused (it is the target)' in err
    code, out, err = run(
        *(*args, '--also', 'TB=Pneumonia,Lung Opacity', '--out', out_dir),
        *('--resamples', 20, *words),
    )
    assert code == 0, err
    assert 'Refused: shenzhen/cls/TB, it is the target.' in out
    assert 'backbone was trained on shenzhen too' in out
    content = json.loads((out_dir / 'zero_shot.json').read_text())
    heads = content['classes']['TB']['heads']
    assert list(heads) == [
        'chexpert/cls/Lung Opacity',
        'chexpert/cls/Pneumonia',
        content['mean_is'],
    ]
    code, _, err = run(*args, '--also', 'Mass=Nodule', *words)
    assert code == 1 and '--also is "Mass=Nodule"' in err
    code, _, err = run(*args, '--classes', 'TBC', *words)
    assert code == 1 and 'did you mean "TB"' in err

    # one class has a head that is left, the other none
    target = target.with_name('chexpert.py')
    code, out, err = run(
        *('zero_shot', ark.config, ark.checkpoint, target, '--out', out_dir),
        *('--classes', 'Pneumonia', 'Edema', '--also', 'Pneumonia=TB'),
        *('--split', 'val', '--resamples', 5, *words),
    )
    assert code == 0, err
    assert 'No head for Edema.' in out
    content = json.loads((out_dir / 'zero_shot.json').read_text())
    assert content['without_head'] == ['Edema']
    assert list(content['classes']) == ['Pneumonia']
