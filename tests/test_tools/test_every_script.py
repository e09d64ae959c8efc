"""Every shipped script is run by a fast test."""

import ast
import importlib.util
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import CONFIG, TINY

REPO = Path(__file__).parents[2]
TOOLS = REPO / 'tools'
HERE = 'test_tools/test_every_script.py'
TRANSFER = 'test_analysis/test_transfer_tools.py'
CONVERTERS = 'test_converters/test_converter_tools.py'

# Script to the test that uses it, beside `test_help`. A new script needs a
# line here, and the test.
USED_BY = {
    'analysis_tools/ablation.py': (
        'test_tools/test_ablation.py',
        'test_broken_runs_are_named_and_made_up',
    ),
    'analysis_tools/benchmark.py': (HERE, 'test_benchmark'),
    'analysis_tools/benchmark_attention.py': (
        HERE,
        'test_benchmark_attention',
    ),
    'analysis_tools/benchmark_data.py': (
        'test_tools/test_benchmark_data.py',
        'test_report_of_all_kinds',
    ),
    'analysis_tools/benchmark_deformable_attention.py': (
        'test_tools/test_benchmark_deformable_attention.py',
        'test_kernels_of_a_cpu',
    ),
    'analysis_tools/browse_dataset.py': (
        'test_tools/test_browse_dataset.py',
        'test_pictures_of_each_task',
    ),
    'analysis_tools/contact_sheet.py': (
        'test_tools/test_contact_sheet.py',
        'test_folder_with_annotation_files',
    ),
    'analysis_tools/continual_table.py': (
        'test_evaluation/test_report/test_stage_comparison.py',
        'test_tool',
    ),
    'analysis_tools/embed.py': (TRANSFER, 'test_from_images_to_gaps'),
    'analysis_tools/finetune_study.py': (
        'test_analysis/test_finetune_study.py',
        'test_pairs_are_compared_and_broken_runs_made_up',
    ),
    'analysis_tools/gradient_conflict.py': (
        'test_analysis/test_gradient_conflict.py',
        'test_tool',
    ),
    'analysis_tools/linear_probe.py': (TRANSFER, 'test_from_images_to_gaps'),
    'analysis_tools/model_summary.py': (HERE, 'test_model_summary'),
    'analysis_tools/pcs_report.py': (
        'test_analysis/test_stability.py',
        'test_report_is_made_up_and_resumed',
    ),
    'analysis_tools/near_copies.py': (
        'test_analysis/test_near_copies.py',
        'test_tool',
    ),
    'analysis_tools/scaling_study.py': (
        'test_analysis/test_scaling.py',
        'test_a_study_is_made_up_and_resumed',
    ),
    'analysis_tools/subgroups.py': (TRANSFER, 'test_from_images_to_gaps'),
    'analysis_tools/zero_shot.py': (TRANSFER, 'test_zero_shot'),
    'app.py': ('test_app/test_app_start.py', 'test_one_sentence'),
    'audit_data.py': (
        'test_tools/test_audit_tool.py',
        'test_test_images_in_training',
    ),
    'cache_images.py': (
        'test_tools/test_cache_tool.py',
        'test_fill_go_on_and_verify',
    ),
    'dataset_converters/make_phantom.py': (HERE, 'test_make_phantom'),
    'dataset_converters/prepare.py': (
        'test_tools/test_prepare_tool.py',
        'test_prepare_and_check',
    ),
    'deployment/export_onnx.py': (
        'test_deployment/test_onnx_export.py',
        'test_the_tool',
    ),
    'dist_test.sh': (HERE, 'test_launchers'),
    'dist_train.sh': (HERE, 'test_launchers'),
    'federated/merge.py': ('test_federated/test_tools.py', 'test_merge'),
    'federated/server.py': (
        'test_federated/test_tools.py',
        'test_a_mistake_is_one_sentence',
    ),
    'federated/simulate.py': (
        'test_federated/test_tools.py',
        'test_a_mistake_is_one_sentence',
    ),
    'federated/site.py': (
        'test_federated/test_tools.py',
        'test_a_mistake_is_one_sentence',
    ),
    'gpu_check.py': (HERE, 'test_gpu_check_without_time'),
    'model_converters/convert.py': (
        CONVERTERS,
        'test_convert_predict_publish_and_export',
    ),
    'model_converters/export_backbone.py': (
        CONVERTERS,
        'test_convert_predict_publish_and_export',
    ),
    'model_converters/publish.py': (
        CONVERTERS,
        'test_convert_predict_publish_and_export',
    ),
    'model_converters/synthesize_average.py': (
        'test_engine/test_mean_teacher_hook.py',
        'test_any_width_is_made_of_averages',
    ),
    'new_experiment.py': (
        'test_tools/test_new_experiment.py',
        'test_a_folder_becomes_an_experiment',
    ),
    'offline.sh': (
        'test_tools/test_setup_env.py',
        'test_offline_needs_a_whole_folder',
    ),
    'export_annotations.py': (
        'test_preparation/test_corrections.py',
        'test_coco_of_boxes_and_labels',
    ),
    'import_annotations.py': (
        'test_preparation/test_corrections.py',
        'test_label_studio_there_and_back',
    ),
    'predict.py': (
        'test_tools/test_train_test_predict.py',
        'test_train_test_and_predict',
    ),
    'print_config.py': (
        'test_tools/test_train_test_predict.py',
        'test_a_printed_config_stands_alone',
    ),
    'setup_env.sh': (
        'test_tools/test_setup_env.py',
        'test_setup_explains_a_failed_step',
    ),
    'test.py': (
        'test_tools/test_train_test_predict.py',
        'test_train_test_and_predict',
    ),
    'train.py': (
        'test_tools/test_train_test_predict.py',
        'test_train_test_and_predict',
    ),
    'wheelhouse.py': (
        'test_tools/test_wheelhouse.py',
        'test_collect_what_the_other_machine_lacks',
    ),
}
PYTHON = [name for name in USED_BY if name.endswith('.py')]


def is_script(path):
    """Whether it is started, and not a module of one that is."""
    return path.suffix == '.sh' or '__main__' in path.read_text()


def functions(path):
    tree = ast.parse(path.read_text())
    return {f.name: f for f in tree.body if isinstance(f, ast.FunctionDef)}


def is_slow(function):
    return any('slow' in ast.unparse(d) for d in function.decorator_list)


def test_each_script_has_a_fast_test():
    paths = [*TOOLS.rglob('*.py'), *REPO.glob('*.sh'), *TOOLS.rglob('*.sh')]
    found = {str(p.relative_to(TOOLS)) for p in paths if is_script(p)}
    assert found == set(USED_BY)
    for script, (file, name) in USED_BY.items():
        path = REPO / 'tests' / file
        text = path.read_text()
        assert not re.search(r'(?m)^pytestmark = .*slow', text), file
        assert not is_slow(functions(path)[name]), f'{script}: {name} is slow'
        name = Path(script).stem
        assert name in text, script


def test_what_scripts_share_is_in_the_package():
    assert all(is_script(path) for path in TOOLS.rglob('*.py'))


@pytest.mark.parametrize('script', PYTHON)
def test_help(run, script):
    code, out, _ = run(script.removesuffix('.py'), '--help')
    assert code == 0
    assert out.startswith('usage: ') and '--' in out


def options(*more):
    pairs = [f'{key}={value}' for key, value in TINY.items()]
    return ['--cfg-options', *pairs, *more]


def test_benchmark(run, tmp_path):
    out = tmp_path / 'out.json'
    code, _, err = run(
        *('analysis_tools/benchmark', CONFIG, 'steps', '--steps', 1),
        *('--warmup', 0, '--kinds', 'cls', '--batch-size', 2, '--out', out),
        *options('tasks=[phantom_a/cls]', 'task_defaults.cls.img_size=64'),
    )
    assert code == 0, err
    report = json.loads(out.read_text())
    assert report['options']['tasks'] == ['phantom_a/cls']
    assert report['steps']


def test_benchmark_attention(run, tmp_path):
    out = tmp_path / 'out.json'
    code, _, err = run(
        *('analysis_tools/benchmark_attention', '--sizes', 'demo'),
        *('--runs', 1, '--batch', 1, '--dtypes', 'fp32', '--out', out),
    )
    assert code == 0, err
    (forward, both) = json.loads(out.read_text())['results']
    assert (forward['pass'], both['pass']) == ('fwd', 'fwd+bwd')
    assert set(both['ratio']) == {'mmdet', 'stock', 'sdpa', 'auto'}


def test_model_summary(run, tmp_path):
    out = tmp_path / 'out.json'
    code, table, err = run(
        'analysis_tools/model_summary', CONFIG, '--out', out, *options()
    )
    assert code == 0, err
    assert 'the teacher has as many' in table
    assert 'backbone' in json.dumps(json.loads(out.read_text()))


def test_make_phantom(run, tmp_path):
    code, _, err = run(
        *('dataset_converters/make_phantom', '--root', tmp_path),
        *('--train', 1, '--val', 1, '--test', 1, '--size', 64),
        *('--workers', 1),
    )
    assert code == 0, err
    assert len(list(tmp_path.glob('easy/hospital_?/images/*/*.png'))) == 9


def test_gpu_check_without_time(run, tmp_path, monkeypatch):
    # the tool sets both, for the processes that it starts
    for name in ('CUDA_VISIBLE_DEVICES', 'PYTORCH_NVML_BASED_CUDA_CHECK'):
        monkeypatch.setenv(name, '')
    code, out, err = run(
        *('gpu_check', '--out', tmp_path, '--device', 'cpu', '--minutes', 0)
    )
    assert code == 1, err
    assert 'operators  not run' in out


@pytest.fixture
def torchrun(tmp_path):
    """A Python that prints what a launcher asks it to run."""
    path = tmp_path / 'python'
    code = 'import json, sys; print(json.dumps(sys.argv[1:]))'
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}" "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def call(script, *words, code=0):
        done = subprocess.run(
            ['bash', str(TOOLS / script), *words],
            env={'PATH': os.environ['PATH'], 'PYTHON': str(path)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stderr
        return done.stderr if code else json.loads(done.stdout)

    return call


def test_launchers(torchrun, run, monkeypatch):
    """torchrun's words, then a command that the tool understands."""
    for script, words, tool in (
        ('dist_train.sh', ['my dir/c.py', '2'], 'train'),
        ('dist_test.sh', ['my dir/c.py', 'w.pth', '2'], 'test'),
    ):
        more = ['--work-dir', 'a b', '--cfg-options', 'x.y=1', 'z=[1, 2]']
        module, *command = torchrun(script, *words, *more)[1:]
        assert module == 'torch.distributed.run'
        assert '--nproc-per-node=2' in command and '--standalone' in command
        start = command.index(str(TOOLS / f'{tool}.py'))
        path = TOOLS / f'{tool}.py'
        spec = importlib.util.spec_from_file_location(tool, path)
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        monkeypatch.setattr(sys, 'argv', command[start:])
        args = loaded.parse_args()
        assert (args.config, args.launcher) == ('my dir/c.py', 'pytorch')
        assert args.work_dir == 'a b'
        assert args.cfg_options == {'x.y': 1, 'z': [1, 2]}
        if tool == 'test':
            assert args.checkpoint == 'w.pth'
        assert 'usage:' in torchrun(script, words[0], code=2)
