"""The study of fine-tuning, with a stand-in for training."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from mmengine.registry import DefaultScope

from fx_mm.utils.errors import UserError

ROOT = Path(__file__).parents[2]
PRETRAINING = ROOT / 'configs' / 'ablation' / 'foundation-x.py'
TARGET = ROOT / 'configs' / 'finetune' / 'foundation-x_tiny_jsrt.py'
LORA = TARGET.with_name('foundation-x_tiny_jsrt_lora.py')
FAKE_TRAIN = """
import json, sys
from pathlib import Path
args = sys.argv[1:]
folder = Path(args[args.index('--work-dir') + 1])
assert '--resume' in args
options = dict(a.split('=', 1) for a in args if '=' in a)
with open(folder / 'starts', 'a') as file:
    file.write('x')
if Path(args[0]).stem == 'foundation-x':
    assert not options
    (folder / 'iter_7.pth').touch()
    (folder / 'last_checkpoint').write_text('iter_7.pth')
    value, task, metric = 0.5, 'phantom_a/cls', 'AUC'
else:
    few = 'datasets.jsrt.tasks.seg.few_shot'
    seed, n = int(options['randomness.seed']), int(options.get(few + '.n', 0))
    assert not n or int(options[few + '.seed']) == seed
    assert options['train_cfg.max_cycles'] == '1'
    start = options['load_from']
    assert start == 'None' or start.endswith('pretraining/iter_7.pth')
    if seed == 1 and n == 6 and not Path(folder.parents[2], 'fixed').exists():
        sys.exit('broken on purpose')
    value = n / 100 + seed / 10 + (start != 'None') * 0.05
    value += args[0].endswith('_lora.py') * 0.01
    (folder / 'iter_9.pth').write_bytes(bytes(2**20))
    task, metric = 'jsrt/seg', 'Dice_pos'
values = {metric: value, metric + '/Lung': 2 * value}
metrics = {'teacher': {task: values}}
kind = task.rsplit('/', 1)[1]
tasks = {task: dict(kind=kind, class_groups={})}
content = dict(schema_version=2, tasks=tasks, metrics=metrics)
content['predict_on'] = 'teacher'
(folder / 'results.json').write_text(json.dumps(content))
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Return a function that runs the tool on the stand-in."""
    path = ROOT / 'tools' / 'analysis_tools' / 'finetune_study.py'
    spec = importlib.util.spec_from_file_location('finetune_study', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    fake = tmp_path / 'train.py'
    fake.write_text(FAKE_TRAIN)
    monkeypatch.setattr(module, 'TRAIN', fake)

    def call(*options, images=(6, 12), others=()):
        words = [PRETRAINING, TARGET, '--seeds', 0, 1, '--images', *images]
        words += ['--others', *others] if others else []
        words += ['--work-dir', tmp_path / 'work', '--cfg-options']
        words += options or ['train_cfg.max_cycles=1']
        monkeypatch.setattr(sys, 'argv', ['x', *map(str, words)])
        code = module.main()
        return code, capsys.readouterr().out

    yield call
    DefaultScope._instance_dict.clear()


def test_pairs_are_compared_and_broken_runs_made_up(run, tmp_path):
    work = tmp_path / 'work'
    with pytest.raises(UserError, match='6_images/scratch/seed_1 has no res'):
        run()
    (work / 'fixed').touch()
    code, out = run()
    assert not code
    starts = {f.parent: f.read_text() for f in work.rglob('starts')}
    assert starts[work / 'pretraining'] == 'x'
    assert starts[work / '6_images' / 'scratch' / 'seed_1'] == 'xx'
    assert starts[work / '12_images' / 'fine-tuned' / 'seed_1'] == 'x'
    assert len(starts) == 9
    content = json.loads((work / 'finetune_study.json').read_text())
    for images in ('6', '12'):
        entry = content['images'][images]['variants']['fine-tuned']
        difference = entry['jsrt/seg/Dice_pos']['difference']
        assert difference['mean'] == pytest.approx(0.05)
        assert difference['n'] == 2
        assert entry['jsrt/seg/Dice_pos/Lung']['difference'][
            'mean'
        ] == pytest.approx(0.1)
        assert (work / f'finetune_study_{images}.png').is_file()
    text = (work / 'finetune_study.md').read_text()
    assert '## 6 images' in text and '**+0.050 [+0.050, +0.050]**' in text
    assert text in out


def test_others_start_from_the_same_weights(run, tmp_path):
    run(images=('all',), others=(LORA,))
    content = json.loads(
        (tmp_path / 'work' / 'finetune_study.json').read_text()
    )['images']['all']
    lora = content['variants']['lora']['jsrt/seg/Dice_pos']['difference']
    assert lora['mean'] == pytest.approx(0.06)
    assert content['costs'].keys() == {'scratch', 'fine-tuned', 'lora'}
    cost = content['costs']['lora']
    assert cost['checkpoint (MiB)'] == 1
    assert cost['peak memory (GiB)'] > 0
    assert 0 < cost['processor minutes'] < 1
    text = (tmp_path / 'work' / 'finetune_study.md').read_text()
    assert '| checkpoint (MiB) | 1.00 | 1.00 | 1.00 |' in text
    # of a run that was finished before costs were kept
    next((tmp_path / 'work').rglob('lora/seed_0/cost.json')).unlink()
    assert not run(images=('all',), others=(LORA,))[0]


def test_others_have_the_same_tasks(run, tmp_path):
    other = tmp_path / 'other.py'
    other.write_text(f"_base_ = {str(PRETRAINING)!r}\nreport = 'test'\n")
    with pytest.raises(UserError, match='other tasks than'):
        run(others=(other,))


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('randomness.seed=3', 'sets randomness.seed'),
        ('load_from=x.pth', 'sets load_from'),
        ('datasets.jsrt.tasks.seg.few_shot.n=3', 'few_shot.n, which'),
        ('report=val', 'has no report="test"'),
    ],
)
def test_what_the_tool_chooses_is_not_for_options(run, option, message):
    with pytest.raises(UserError, match=message):
        run(option)
