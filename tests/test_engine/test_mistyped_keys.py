"""A mistyped key of any section of a config gets the same answer."""

import pytest

from fx_mm.utils.errors import UserError

ENCODER = 'model.student.localization.encoder'


@pytest.mark.parametrize(
    ('place', 'meant'),
    [
        ('train_cfg.max_cycle', 'max_cycles'),
        ('val_cfg.predicton', 'predict_on'),
        ('test_cfg.predicton', 'predict_on'),
        ('optim_wrapper.accumulative_count', 'accumulative_counts'),
        ('optim_wrapper.optimizer.weight_dekay', 'weight_decay'),
        ('optim_wrapper.clip_grad.locc', 'loc'),
        ('optim_wrapper.paramwise_cfg.custom_key', 'custom_keys'),
        ('optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mul', 'lr_mult'),
        ('param_scheduler.0.warmup_cycle', 'warmup_cycles'),
        ('default_hooks.chekpoint', 'checkpoint'),
        ('default_hooks.checkpoint.intervall', 'interval'),
        ('default_hooks.logger.intervall', 'interval'),
        ('default_hooks.runtime_info.interval', ''),
        ('custom_hooks.1.decai', 'decay'),
        ('env_cfg.cudnn_benchmrk', 'cudnn_benchmark'),
        ('env_cfg.mp_cfg.mp_start_metod', 'mp_start_method'),
        ('env_cfg.dist_cfg.backnd', 'backend'),
        ('randomness.sed', 'seed'),
        ('auto_scale_lr.base_batchsize', 'base_batch_size'),
        ('visualizer.vis_backend', 'vis_backends'),
        ('phantom.rooot', 'root'),
        ('loader.num_worker', 'num_workers'),
        ('cycle.ordr', 'order'),
        ('model.consistency_wait', 'consistency_weight'),
        ('model.student.backbone.embed_dim', 'embed_dims'),
        (f'{ENCODER}.layer_cfg.ffn_cfg.feedforward_chanels', 'feedforward_ch'),
        (f'{ENCODER}.layer_cfg.self_attn_cfg.num_point', 'num_points'),
        ('model.data_preprocessor.pad_siz', ''),
        ('task_defaults.loc.img_sise', 'img_size'),
        ('task_defaults.loc.train_pipeline.2.probb', 'prob'),
        ('datasets.phantom_b.data_rot', 'data_root'),
        ('datasets.phantom_b.tasks.loc.readers', 'reader'),
        ('datasets.phantom_b.tasks.loc.reader.max_mising', 'max_missing'),
        ('datasets.phantom_b.tasks.loc.splits.trian', 'train'),
        # of a task that this run does not train
        ('datasets.phantom_c.tasks.seg.class_group', 'class_groups'),
        ('trainn_cfg', 'train_cfg'),
    ],
)
def test_the_key_and_the_likely_one_are_named(make_runner, place, meant):
    key = place.rpartition('.')[2]
    with pytest.raises(UserError) as caught:
        make_runner(
            report=True,
            **{'tasks': ['phantom_b/loc'], 'log_level': 'ERROR', place: 1},
        )
    message = str(caught.value)
    assert message.startswith(f'Unknown key "{key}" in ')
    assert not meant or f'did you mean "{meant}' in message


@pytest.mark.parametrize(
    ('place', 'value', 'message'),
    [
        ('train_cfg', dict(_delete_=True, max_cycles=3), 'has no "type"'),
        (
            'train_cfg',
            dict(_delete_=True, type='CyclicTrainLoop'),
            'config of CyclicTrainLoop has no "max_cycles"; add it',
        ),
        (
            'train_cfg.type',
            'CyclicLoop',
            'Unknown type "CyclicLoop": .*did you mean "CyclicTrainLoop"',
        ),
        ('loader.num_workers', -1, 'loader.num_workers is -1; it must be'),
        ('loader.prefetch_factor', 0, 'prefetch_factor is 0; it must be'),
    ],
)
def test_what_is_missing_or_wrong(make_runner, place, value, message):
    options = {'tasks': ['phantom_a/cls'], 'log_level': 'ERROR'}
    if place.endswith('prefetch_factor'):
        options['loader.num_workers'] = 1
    with pytest.raises(UserError, match=message):
        make_runner(**options, **{place: value})


def test_hooks_of_any_other_name_may_be_added(make_runner):
    runner = make_runner(
        **{
            'tasks': ['phantom_a/cls'],
            'log_level': 'ERROR',
            'default_hooks.visualization': dict(type='ProgressHook'),
            # nothing to prefetch without workers
            'loader.prefetch_factor': 4,
            'loader.persistent_workers': True,
        }
    )
    names = [type(hook).__name__ for hook in runner.hooks]
    assert names.count('ProgressHook') == 2
