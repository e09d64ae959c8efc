"""One cycle that records its gradients, as one process or one of several.

Started by test_distributed.py: ``gradient_run.py CONFIG OUT``.
"""

import os
import sys

import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from fx_mm.apis import build_runner
from fx_mm.models.losses import MaskedSoftmaxLoss
from fx_mm.utils.dist import unwrap

NAN = float('nan')
TASKS = ['phantom_a/cls', 'phantom_b/cls', 'phantom_b/loc', 'phantom_c/seg']
EXACT = {
    # no chance, no rounding to bfloat16, no Adam, which magnifies the
    # smallest gradients
    'model.student.backbone.drop_path_rate': 0.0,
    'optim_wrapper.amp_dtype': None,
    'optim_wrapper.optimizer.type': 'SGD',
    # small, so that one step's rounding does not grow over the cycle
    'optim_wrapper.optimizer.lr': 1e-4,
    'optim_wrapper.optimizer.fused': False,
    'val_cfg.amp_dtype': None,
    'test_cfg.amp_dtype': None,
    'model.student.localization.encoder_l2': 1e-4,
    'model.student.segmentation.decoder.pool_channels': 16,
    'train_cfg.max_cycles': 1,
    'tasks': TASKS,
    'train_cfg.val_interval': 10,
}


class Recorder(Hook):
    """Keep each step's gradients; make the shares of the ranks unequal."""

    def __init__(self, runner):
        self.model = unwrap(runner.model)
        self.rank, self.world_size = runner.rank, runner.world_size
        self.steps = []
        student = self.model.student
        student.classification.heads.phantom_b.loss_module = (
            MaskedSoftmaxLoss()
        )
        decode = student.localization.decode
        student.localization.decode = lambda state, dataset, samples, **_: (
            decode(state, dataset, samples, denoise=False)
        )

    def before_train(self, runner):
        step = runner.optim_wrapper.step

        def record(**kwargs):
            self.steps[-1]['gradients'] = {
                name: p.grad.clone()
                for name, p in self.model.student.named_parameters()
                if p.grad is not None
            }
            step(**kwargs)

        runner.optim_wrapper.step = record

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        for module in self.model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eval()
        task, mode = runner.train_loop.current_pass
        student = self.model.student
        self.steps.append(
            dict(
                task=task,
                mode=mode,
                locked=student.locked,
                before=self.values(student),
            )
        )
        student.segmentation.mask_loss.per_channel = mode == 'release'
        for i, sample in enumerate(data_batch['data_samples']):
            place = i * self.world_size + self.rank
            if task.endswith('cls'):
                if task == 'phantom_a/cls':
                    sample.gt_score[1 + place % 2 * 3 :] = NAN
                elif place % (3 if task == 'phantom_b/cls' else 2):
                    sample.gt_score[:] = NAN
            elif place % 2 and mode == 'lock':
                # the second of two ranks has no box and no mask at all
                if task.endswith('loc'):
                    sample.gt_instances = sample.gt_instances[:0]
                else:
                    sample.gt_sem_seg.data[:] = 0

    def after_train_iter(self, runner, batch_idx, data_batch=None, **_):
        after = self.values(self.model.student)
        step = self.steps[-1]
        before = step.pop('before')
        step['moved'] = {
            part.name
            for part in self.model.student.param_groups()
            for name in after
            if part.owns(name) and not torch.equal(before[name], after[name])
        }

    @staticmethod
    def values(student):
        return {k: v.clone() for k, v in student.state_dict().items()}


def run(cfg):
    """Validate the fresh model, train, test on one image a task."""
    runner = build_runner(cfg)
    torch.manual_seed(0)
    runner.init_model_weights()
    metrics = dict(val=runner.val_loop.run())
    recorder = Recorder(runner)
    runner.register_hook(recorder)
    torch.manual_seed(0)
    runner.train()
    metrics['test'] = runner.test()
    return dict(
        steps=recorder.steps,
        metrics=metrics,
        state={k: v.clone() for k, v in recorder.model.state_dict().items()},
        images=[len(d) for d in runner.val_dataloader.dataset.datasets],
    )


def check_steps(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected):
        where = ours['task'], ours['mode']
        assert ours['locked'] == theirs['locked']
        assert bool(ours['locked']) == (ours['mode'] == 'lock')
        assert ours['moved'] == theirs['moved']
        assert not ours['moved'] & set(ours['locked'])
        one, two = theirs['gradients'], ours['gradients']
        assert one.keys() == two.keys(), where
        largest = max(g.abs().max() for g in one.values())
        worst = max((one[k] - two[k]).abs().max() for k in one)
        print(*where, f'{float(worst / largest):.1e}')
        assert worst <= 1e-5 * largest, where


if __name__ == '__main__':
    result = run(Config.fromfile(sys.argv[1]))
    torch.save(result, f'{sys.argv[2]}.{os.environ["RANK"]}')
