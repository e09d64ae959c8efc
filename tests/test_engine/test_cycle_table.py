"""The paper's cycle: mode, data and trainable parts of each pass."""

import pytest
from small_run import small_cfg

from fx_mm.apis import build_runner

KINDS = ('cls', 'loc', 'seg')
# Reference 2.1: data, backbone, classification head, localization encoder and
# decoder, segmentation decoder and head, mode, task.
TABLE = """
Full Trainable Trainable -         -         -         -         release cls
Half Frozen    -         Frozen    Trainable -         -         lock    loc
Full Trainable -         Trainable Trainable -         -         release loc
Half Frozen    -         -         -         Frozen    Trainable lock    seg
Full Trainable -         -         -         Trainable Trainable release seg
"""
COLUMNS = (
    'backbone',
    'phantom_c/cls/head',
    'localization/encoder',
    'phantom_c/loc/decoder',
    'segmentation/decoder',
    'phantom_c/seg/head',
)


@pytest.fixture(scope='module')
def cycle_of_three(phantom_root, tmp_path_factory):
    """A dataset with all three annotations, 12 images."""
    options = {f'task_defaults.{k}.batch_size': 2 for k in KINDS}
    options['task_defaults.loc.box_free_share'] = None
    options['tasks'] = [f'phantom_c/{kind}' for kind in KINDS]
    work = tmp_path_factory.mktemp('table')
    return build_runner(small_cfg(phantom_root, work, **options))


@pytest.mark.parametrize('index', range(5))
def test_the_papers_table_row_by_row(cycle_of_three, index):
    loop, model = cycle_of_three.train_loop, cycle_of_three.model
    data, *columns, mode, kind = TABLE.split('\n')[1 + index].split()
    loop.begin_pass(index)
    assert loop.current_pass == (f'phantom_c/{kind}', mode)
    batches = loop.sampler.pass_batches(index)
    images = {key.image for batch in batches for key in batch}
    assert len(images) == dict(Full=12, Half=6)[data]

    model.zero_grad(set_to_none=True)
    dataset = loop.dataloader.dataset
    batch = loop.dataloader.collate_fn([dataset[k] for k in batches[0]])
    batch = model.data_preprocessor(batch, training=True)
    losses = model(**batch, mode='loss')
    model.parse_losses(losses)[0].backward()
    parts = {part.name: part for part in model.student.param_groups()}
    for name, state in zip(COLUMNS, columns):
        owned = [
            p
            for key, p in model.student.named_parameters()
            if parts[name].owns(key)
        ]
        learns = any(p.grad is not None for p in owned)
        assert learns == (state == 'Trainable'), name
        if state != '-':
            assert {p.requires_grad for p in owned} == {learns}, name


def test_the_table_is_the_whole_cycle(cycle_of_three):
    assert cycle_of_three.train_loop.schedule.passes_per_cycle == 5
