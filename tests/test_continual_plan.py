"""The config of each stage, from the shipped configs."""

import json
from pathlib import Path

import pytest

from fx_mm.config import ContinualPlan, expand_config, load_config
from fx_mm.tasks import TaskTable
from fx_mm.utils.errors import UserError

CONFIGS = Path(__file__).parents[1] / 'configs'
FILES = sorted((CONFIGS / 'continual').glob('*.py'))
REHEARSAL = CONFIGS / 'continual' / 'rehearsal.py'
A, B, C = 'phantom_a/cls', 'phantom_b/cls', 'phantom_c/seg'


def plan_of(tmp_path, file=REHEARSAL, **options):
    options = {k.replace('__', '.'): v for k, v in options.items()}
    cfg = load_config(str(file), {'work_dir': str(tmp_path), **options})
    return ContinualPlan(cfg)


def finish(plan, number):
    folder = plan.folder(number)
    folder.mkdir(parents=True)
    record = dict(tasks=plan.stages[number], checkpoint='iter_1.pth')
    (folder / 'stage.json').write_text(json.dumps(record))


def stages_of(plan):
    for number in range(len(plan.stages)):
        yield plan.stage_config(number)
        finish(plan, number)


@pytest.mark.parametrize('file', FILES, ids=lambda file: file.stem)
def test_shipped_configs_expand_stage_by_stage(tmp_path, file):
    cfg = load_config(str(file), {'work_dir': str(tmp_path)})
    whole = expand_config(cfg)
    if cfg.get('continual') is None:
        return
    plan = ContinualPlan(cfg)
    assert whole.task_table.names == plan.tasks_until(len(plan.stages) - 1)
    for number, stage in enumerate(stages_of(plan)):
        expanded = expand_config(stage)
        assert expanded.task_table.names == plan.tasks_until(number)
        trained = expanded.train_dataloader['dataset']['tasks']
        assert set(plan.stages[number]) <= set(trained)
        assert 'continual' not in expanded


def test_what_a_stage_trains_and_starts_from(tmp_path):
    plan = plan_of(tmp_path)
    one, two, three = stages_of(plan)
    assert one.tasks == [A] and one.get('load_from') is None
    assert three.tasks == three.train_cfg.tasks == [A, B, C]
    assert two.load_from == str(tmp_path / 'stage_1' / 'iter_1.pth')
    table = TaskTable.from_cfg(three)
    buffer = str(tmp_path / 'stage_2' / 'buffer.json')
    assert [t.config.get('rehearsal') for t in table] == [buffer, buffer, None]
    assert three.cycle.rehearsal_ratio == 0.5
    assert three.work_dir == str(tmp_path / 'stage_3')
    assert 'rehearsal' not in plan.cfg.datasets.phantom_a.tasks.cls


def test_without_rehearsal_new_tasks_alone_are_trained(tmp_path):
    plan = plan_of(tmp_path, CONFIGS / 'continual' / 'sequential.py')
    *_, three = stages_of(plan)
    assert three.tasks == [A, B, C] and three.train_cfg.tasks == [C]
    expanded = expand_config(three)
    assert expanded.train_dataloader['dataset']['tasks'] == [C]
    assert 'tasks' not in expanded.val_cfg if expanded.val_cfg else True
    assert list(expanded.test_evaluator) == [A, B, C]


def test_entries_of_tasks_that_are_not_there_yet(tmp_path):
    plan = plan_of(
        tmp_path,
        cycle__max_batches={A: 3, C: 4, 'cls': 5},
        cycle__lock=[(A, 'release'), (B, 'release'), (C, 'release')],
        test_cfg__tasks=[B, C],
    )
    one, two, _ = stages_of(plan)
    batches = one.cycle.max_batches
    assert (batches[A], batches['cls'], C in batches) == (3, 5, False)
    assert one.cycle.lock == [(A, 'release')] and one.test_cfg is None
    assert two.test_cfg.tasks == [B]
    expand_config(two)


def test_start_and_method(tmp_path):
    plan = plan_of(
        tmp_path,
        CONFIGS / 'continual' / 'frozen-teacher.py',
        continual__start='old.pth',
    )
    one, two, _ = stages_of(plan)
    assert one.load_from == 'old.pth'
    assert one.custom_hooks[-1] == dict(type='FrozenTeacher', before=None)
    assert two.custom_hooks[-1].before == str(tmp_path / 'stage_1')
    assert two.test_cfg.predict_on == 'student'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'continual': dict(stages=[])}, 'list of lists'),
        ({'continual': dict(stages=[[A], []])}, 'at least one each'),
        ({'continual': dict(stages=[A])}, 'continual.stages'),
        ({'continual': dict(stages=[[A], [B, A]])}, '"phantom_a/cls" twice'),
        ({'continual': dict(stages=[[A], ['x/cls']])}, 'Unknown task "x/cls"'),
        ({'tasks': [A, B]}, 'differ in phantom_c/seg'),
        ({'continual.stage': [[A]]}, 'Unknown key "stage"'),
        ({'continual.method': dict(weight=1)}, 'has no "type"'),
        ({'continual.rehearsal.share': None}, 'needs one of share'),
        ({'continual.rehearsal.count': 5}, 'needs one of share'),
        ({'continual.rehearsal.share': 1.5}, 'rehearsal.share'),
        ({'continual.rehearsal.select': 'best'}, 'rehearsal.select'),
        ({'continual.rehearsal.seed': -1}, 'rehearsal.seed'),
        ({'continual.start': 'a.pth', 'load_from': 'b.pth'}, 'both set'),
        ({'train_cfg.tasks': []}, 'train_cfg.tasks is empty'),
        ({'train_cfg.tasks': ['x/cls']}, 'Unknown task "x/cls"'),
    ],
)
def test_what_makes_no_sense(tmp_path, options, message):
    options = {'work_dir': str(tmp_path), **options}
    with pytest.raises(UserError, match=message):
        expand_config(load_config(str(REHEARSAL), options))


def test_records_that_cannot_be_read(tmp_path):
    plan = plan_of(tmp_path)
    finish(plan, 0)
    (plan.folder(0) / 'stage.json').write_text('{')
    with pytest.raises(UserError, match='is no finished stage'):
        plan.finished()


def test_without_the_key_a_config_expands_as_before():
    file = CONFIGS / 'continual' / 'joint.py'
    expanded = expand_config(load_config(str(file)))
    assert 'tasks' not in expanded.train_dataloader['dataset']
    assert 'rehearsal_ratio' not in expanded.train_dataloader['batch_sampler']
    assert all('rehearsal' not in task.config for task in expanded.task_table)
