"""Training with compiled parts."""

import pytest
import torch
from mmengine.hooks import Hook
from torch import nn
from torch._dynamo.utils import counters

PARTS = {'model.compile_backbone': True, 'model.compile_branches': True}


class Graphs(Hook):
    """Count the graphs after each pass and each validation."""

    priority = 'LOWEST'

    def __init__(self):
        self.counts = []

    def after_train_epoch(self, runner):
        self.counts.append(counters['stats']['unique_graphs'])

    def after_val_epoch(self, runner, metrics=None):
        self.counts.append(counters['stats']['unique_graphs'])


@pytest.fixture
def quick_compiler(monkeypatch):
    """Trace as the compiler does, but run what was traced as it is."""
    compile_module = nn.Module.compile

    def compile_quickly(module, **options):
        compile_module(module, backend='eager', **options)

    monkeypatch.setattr(nn.Module, 'compile', compile_quickly)
    torch.compiler.reset()
    counters.clear()
    yield
    torch.compiler.reset()


# half a minute of a core
@pytest.mark.timeout(300)
@pytest.mark.slow
def test_graphs_of_the_first_cycle_serve_all(make_runner, quick_compiler):
    """Neither a lock, a release, a new pass nor a validation adds one."""
    options = {
        'tasks': ['phantom_a/cls', 'phantom_b/loc', 'phantom_c/seg'],
        'train_cfg.max_cycles': 2,
        'optim_wrapper.amp_dtype': 'bfloat16',
        # another size, and a validation whose last batch has another one
        'task_defaults.seg.batch_size': 3,
    }
    plain = make_runner(work_dir='plain', **options)
    plain.train()
    assert not counters['stats']
    runner = make_runner(work_dir='compiled', **options, **PARTS)
    graphs = Graphs()
    runner.register_hook(graphs)
    runner.train()
    cycle = len(graphs.counts) // 2
    # teacher, student and locked student: two sizes of the backbone, one of
    # encoder and decoder
    assert graphs.counts[cycle - 1] == 3 * (2 + 1 + 1)
    assert len(set(graphs.counts[cycle - 1 :])) == 1
    assert not counters['graph_break']
    ours, theirs = (r.model.state_dict() for r in (runner, plain))
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, msg=name)
