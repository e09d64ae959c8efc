"""Few-shot draws: nested, by patient, the same for all kinds of a dataset."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fx_mm.datasets import TaskDataset
from fx_mm.datasets.few_shot import draw_few, draw_share
from fx_mm.tasks import TaskTable
from fx_mm.utils.errors import UserError

PAPER = (3, 6, 12, 15, 20, 24)
NAMES = [f'{i:03d}.png' for i in range(40)]


def test_sizes_of_the_paper_are_nested():
    draws = [set(draw_few(NAMES, n)) for n in PAPER]
    assert [len(draw) for draw in draws] == list(PAPER)
    assert all(a < b for a, b in zip(draws, draws[1:]))
    assert draw_few(NAMES, 12, seed=1) != draw_few(NAMES, 12)
    assert draw_few(NAMES, 40) == list(range(40))


def test_every_patient_comes_before_anyone_twice():
    patients = ['a'] * 30 + ['b', 'c', 'd'] + ['e'] * 7
    chosen = [patients[i] for i in draw_few(NAMES, 5, 3, patients)]
    assert sorted(chosen) == list('abcde')
    chosen = [patients[i] for i in draw_few(NAMES, 8, 3, patients)]
    assert sorted(chosen) in (sorted('abcdeae' + x) for x in 'ae')


def test_a_share_of_one_patient_is_that_patient():
    assert draw_share(['a'], 0.01) == [0]


def test_shares_are_nested_and_take_whole_patients():
    patients = [f'p{i % 8}' for i in range(40)]
    draws = [
        set(draw_share(NAMES, share, 1, patients))
        for share in (0.05, 0.25, 0.5, 1)
    ]
    assert [len(draw) for draw in draws] == [5, 10, 20, 40]
    assert all(a < b for a, b in zip(draws, draws[1:]))
    for draw in draws:
        owners = {patients[i] for i in draw}
        assert draw == {i for i, p in enumerate(patients) if p in owners}
    # of other images of the same patients, the same patients
    fewer = draw_share(NAMES[:16], 0.25, 1, patients[:16])
    assert {patients[i] for i in fewer} == {patients[i] for i in draws[1]}
    assert draw_share(NAMES, 0.25, 2, patients) != sorted(draws[1])
    assert len(draw_share(NAMES, 0.25)) == 10


@given(
    st.lists(st.text(max_size=4), min_size=1, max_size=30, unique=True),
    st.data(),
)
def test_draws_depend_on_names_alone(names, data):
    n = data.draw(st.integers(1, len(names)))
    patients = data.draw(
        st.none()
        | st.lists(
            st.sampled_from('xyz'), min_size=len(names), max_size=len(names)
        )
    )
    order = data.draw(st.permutations(range(len(names))))
    chosen = draw_few(names, n, 7, patients)
    assert len(set(chosen)) == n
    moved = draw_few(
        [names[i] for i in order],
        n,
        7,
        patients and [patients[i] for i in order],
    )
    assert {names[i] for i in chosen} == {names[order[i]] for i in moved}


@pytest.fixture
def make(tmp_path, write_images):
    """Return a function that opens a split of one of three tasks."""
    names = [f'{i // 3}_{i % 3}.png' for i in range(9)]
    write_images(*names, shape=(8, 8))
    rows = [f'{name},1' for name in names]
    for split in ('train', 'val'):
        text = '\n'.join(['image,A', *rows])
        (tmp_path / f'{split}.csv').write_text(text)
        text = '\n'.join(['image,A', *(f'{name},' for name in names)])
        (tmp_path / f'{split}_masks.csv').write_text(text)
        images = [
            dict(id=i, file_name=name, width=8, height=8)
            for i, name in enumerate(names)
        ]
        (tmp_path / f'{split}.json').write_text(
            json.dumps(
                dict(
                    images=images,
                    annotations=[],
                    categories=[dict(id=1, name='A')],
                )
            )
        )

    def call(kind, split, **options):
        reader, end = dict(
            cls=('CsvLabelReader', '.csv'),
            loc=('CocoReader', '.json'),
            seg=('MaskReader', '_masks.csv'),
        )[kind]
        entry = dict(
            classes=['A'],
            reader=dict(type=reader),
            splits={s: f'{s}{end}' for s in ('train', 'val')},
            img_size=8,
            batch_size=1,
            train_pipeline=[],
            test_pipeline=[],
            **options,
        )
        dataset = dict(
            data_root=str(tmp_path),
            img_dir='images',
            patient=r'^(\d+)_',
            tasks={kind: entry},
        )
        table = TaskTable.from_cfg(dict(datasets=dict(toy=dataset)))
        return TaskDataset(table[f'toy/{kind}'], split)

    return call


@pytest.mark.parametrize('kind', ['cls', 'loc', 'seg'])
def test_only_training_is_cut(make, kind):
    few = make(kind, 'train', few_shot=dict(n=3, seed=1))
    assert len(few) == len(few.empty) == 3
    # three patients by the pattern of the dataset
    names = list(few.data_list.column('img_id'))
    assert sorted(name[0] for name in names) == ['0', '1', '2']
    assert names == list(
        make('cls', 'train', few_shot=dict(n=3, seed=1)).data_list.column(
            'img_id'
        )
    )
    whole = make(kind, 'train')
    at = list(whole.data_list.column('img_id')).index(names[0])
    assert few.data_list[0].keys() == whole.data_list[at].keys()
    assert few.data_list[0]['img_path'] == whole.data_list[at]['img_path']
    assert len(make(kind, 'val', few_shot=dict(n=3))) == 9


def test_a_share_is_of_patients(make):
    names = {
        kind: list(
            make(kind, 'train', few_shot=dict(share=0.3)).data_list.column(
                'img_id'
            )
        )
        for kind in ('cls', 'loc', 'seg')
    }
    assert len(names['cls']) == 3 and len({n[0] for n in names['cls']}) == 1
    assert names['cls'] == names['loc'] == names['seg']
    assert len(make('cls', 'val', few_shot=dict(share=0.3))) == 9


@pytest.mark.parametrize('column', ['patient', 'PatientID', 'subject_id'])
@pytest.mark.parametrize('pack', [bytes, gzip.compress])
def test_patients_of_a_packed_table_who_are_written_in_other_ways(
    make, tmp_path, column, pack
):
    lines = (tmp_path / 'train.csv').read_text().splitlines()
    ways = ('7', '7.0', '007', 'P7', 'p07', '7', '7', '7', 'other')
    lines = [f'{lines[0]},{column}'] + [
        f'{line},{way}' for line, way in zip(lines[1:], ways)
    ]
    (tmp_path / 'train.csv').write_bytes(pack('\n'.join(lines).encode()))
    few = make('cls', 'train', few_shot=dict(n=2))
    assert '2_2.png' in list(few.data_list.column('img_id'))


def test_patients_of_the_table_count(make, tmp_path):
    lines = (tmp_path / 'train.csv').read_text().splitlines()
    lines = [f'{lines[0]},patient'] + [
        f'{line},{"same" if i < 8 else "other"}'
        for i, line in enumerate(lines[1:])
    ]
    (tmp_path / 'train.csv').write_text('\n'.join(lines))
    few = make('cls', 'train', few_shot=dict(n=2))
    assert '2_2.png' in list(few.data_list.column('img_id'))


def test_too_few_images_are_refused(make):
    with pytest.raises(UserError) as error:
        make('seg', 'train', few_shot=dict(n=12))
    assert 'few_shot of task toy/seg asks for 12 training images' in str(
        error.value
    )
    assert str(error.value).endswith('has 9; ask for fewer.')


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        (12, 'few_shot is 12; it must be a dict or None'),
        (dict(seed=1), r'write dict\(n=12\)'),
        (dict(n=0), 'few_shot.n is 0'),
        (dict(n=3.5), 'few_shot.n is 3.5'),
        (dict(n=3, sed=0), 'did you mean "seed"'),
        (dict(n=3, seed=-1), 'few_shot.seed is -1'),
        (dict(n=3, share=0.5), 'for so many images, or dict'),
        (dict(share=0), 'few_shot.share is 0'),
        (dict(share=1.5), 'few_shot.share is 1.5'),
    ],
)
def test_mistakes(make, value, message):
    with pytest.raises(UserError, match=message):
        make('seg', 'train', few_shot=value)
