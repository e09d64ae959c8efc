"""From raw files to those that a config names, and what can go wrong."""

import csv
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import time

import cv2
import numpy as np
import pytest
from toy_raw import Block, Held

from fx_mm.preparation import (
    RAW_DATASETS,
    RawDataset,
    RawError,
    check_prepared,
    prepare,
)
from fx_mm.preparation.dataset_spec import read_dataset_spec
from fx_mm.preparation.manifest import Manifest
from fx_mm.utils.errors import UserError
from fx_mm.visualization.dataset_sheet import open_tasks

SPLITS = ('train', 'val', 'test')


def run(toy, **arguments):
    arguments.setdefault('workers', 1)
    return prepare(toy.config, toy.data, **arguments)


def checksums(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(folder.rglob('*'))
        if path.is_file() and not path.name.startswith('.')
    }


def times(folder):
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob('*')
        if path.is_file() and path.suffix != '.lock'
    }


def rows_of(toy, name):
    with (toy.prepared / name).open(newline='') as file:
        return list(csv.DictReader(file))


def samples(toy, config=None):
    """Read everything as training would: task to image to sample."""
    spec = read_dataset_spec(config or toy.config, toy.data)
    found = {}
    for split in SPLITS:
        for data in open_tasks(spec.name, spec.config, split):
            for index in range(len(data)):
                name = data.get_data_info(index)['img_id']
                kind = found.setdefault(data.task.kind.name, {})
                kind[name] = split, data.sample(index, 0)
    return found


def test_no_finding_at_all(toy):
    for number in range(12):
        toy.add(
            number,
            labels=dict(Nodule=0, Effusion=None),
            boxes=[],
            masks={} if number % 2 else dict(Nodule=[], Lung=[]),
        )
    content = run(toy)
    assert sum(c['boxes'] for c in content['counts']['boxes'].values()) == 0
    assert content['mask_files'] == 0
    found = samples(toy)
    assert [len(found[kind]) for kind in found] == [12, 12, 12]
    for _, sample in found['loc'].values():
        assert len(sample['data_samples'].gt_instances) == 0
    for _, sample in found['seg'].values():
        assert not sample['data_samples'].gt_sem_seg.data.any()
    for _, sample in found['cls'].values():
        score = sample['data_samples'].gt_score
        assert score[0] == 0 and score[1].isnan()


def test_training_reads_what_the_raw_files_say(toy):
    toy.fill(24)
    run(toy)
    found = samples(toy)
    for raw in toy.images:
        splits = set()
        for kind in ('cls', 'loc', 'seg'):
            split, sample = found[kind][raw.name]
            splits.add(split)
            truth = sample['data_samples']
            image = cv2.imread(str(raw.source), cv2.IMREAD_GRAYSCALE)
            assert np.array_equal(sample['inputs'][0].numpy(), image)
            if kind == 'cls':
                assert truth.gt_score[0] == raw.labels['Nodule']
            elif kind == 'loc':
                boxes = truth.gt_instances.bboxes
                boxes = getattr(boxes, 'tensor', boxes).tolist()
                assert boxes == [list(map(float, b[1:])) for b in raw.boxes]
            else:
                for mask, name in zip(
                    truth.gt_sem_seg.data.numpy(), ('Nodule', 'Lung')
                ):
                    union = np.zeros((30, 40), bool)
                    for piece in raw.masks[name]:
                        union |= piece.draw(30, 40)
                    assert np.array_equal(mask.astype(bool), union)
        assert len(splits) == 1


def test_training_knows_what_nobody_annotated(toy):
    toy.fill(12)
    for raw in toy.images[::2]:
        raw.masks['Lung'].append(Held(14, 2, 24, 28))
    run(toy)
    for name, (_, sample) in samples(toy)['seg'].items():
        truth = sample['data_samples'].gt_sem_seg
        raw = next(raw for raw in toy.images if raw.name == name)
        if raw not in toy.images[::2]:
            assert 'ignore' not in truth
            continue
        ignored = np.ma.getmask(raw.masks['Lung'][-1].draw(30, 40))
        assert np.array_equal(truth.ignore[0].numpy() > 0, ignored)
        lung = np.logical_or.reduce(
            [np.asarray(piece.draw(30, 40)) for piece in raw.masks['Lung']]
        )
        assert np.array_equal(truth.data[1].numpy() > 0, lung & ~ignored)
    assert not check_prepared(toy.config, toy.data, workers=1).problems


def test_tables(toy):
    toy.fill(24)
    content = run(toy)
    rows = [row for split in SPLITS for row in rows_of(toy, f'{split}.csv')]
    assert list(rows[0]) == [
        'image', 'patient', 'sex', 'age', 'Nodule', 'Effusion'
    ]  # fmt: skip
    by_name = {row['image']: row for row in rows}
    assert by_name['000.png']['age'] == '40'
    for entry in toy.images:
        row = by_name[entry.name]
        value = entry.labels['Effusion']
        assert row['Effusion'] == ('' if value is None else str(value))
    for split in SPLITS:
        table = json.loads((toy.prepared / f'{split}.json').read_text())
        assert table['categories'] == [dict(id=1, name='Nodule')]
        assert [i['id'] for i in table['images']] == list(
            range(1, len(table['images']) + 1)
        )
        assert all(i['patient'] for i in table['images'])
        counts = content['counts']['labels'][split]
        assert counts['images'] == len(rows_of(toy, f'{split}.csv'))
    mask = rows_of(toy, 'train_masks.csv')[0]['Lung']
    assert mask.startswith('masks/toy/') and mask.endswith('.png#1')
    patients = [
        {row['patient'] for row in rows_of(toy, f'{split}.csv')}
        for split in SPLITS
    ]
    assert len(set.union(*patients)) == sum(map(len, patients)) == 12


def test_manifest(toy):
    toy.fill(12)
    content = run(toy)
    path = toy.prepared / 'toy.manifest.json'
    assert json.loads(path.read_text()) == content
    assert list(content['files']) == ['official.csv']
    for file, checksum in content['tables'].items():
        data = (toy.root / file).read_bytes()
        assert hashlib.sha256(data).hexdigest() == checksum
    assert content['raw'] == dict(images=12, patients=6)
    assert len(content['tables']) == 9 and content['fx_mm']


def test_only_files_that_the_config_names(toy):
    toy.fill(12)
    toy.configure(**{"f'prepared/{s}.json'": "f'official/{s}.json'"})
    assert sorted(run(toy)['counts']) == ['labels', 'masks']
    assert not list(toy.prepared.glob('*.json.tmp'))
    assert not (toy.prepared / 'train.json').exists()


def test_forms_that_nobody_annotated(toy):
    toy.fill(24)
    for entry in toy.images[::2]:
        entry.boxes = entry.masks = None
    content = run(toy)
    sizes = {
        form: sum(c['images'] for c in counts.values())
        for form, counts in content['counts'].items()
    }
    assert sizes == dict(labels=24, boxes=12, masks=12)


def test_workers_do_not_change_the_files(toy):
    toy.fill(30)
    run(toy)
    one = checksums(toy.prepared)
    shutil.rmtree(toy.prepared)
    run(toy, workers=3)
    assert checksums(toy.prepared) == one


def test_a_second_call_does_nothing(toy):
    toy.fill(12)
    content = run(toy)
    before = times(toy.prepared)
    assert run(toy) == content
    assert times(toy.prepared) == before


@pytest.mark.parametrize('name', ['images/003.png', 'val.csv', 'masks'])
def test_what_was_deleted_comes_back(toy, name):
    toy.fill(12)
    run(toy)
    before = checksums(toy.prepared)
    path = toy.prepared / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    run(toy)
    assert checksums(toy.prepared) == before


def test_a_grown_raw_dataset_is_added_to(toy):
    toy.fill(16)
    run(toy)
    before = times(toy.prepared / 'images')
    splits = {n: p for n, (p, _) in samples(toy)['cls'].items()}
    toy.fill(8, start=16)
    run(toy)
    after = times(toy.prepared / 'images')
    assert {p: after[p] for p in before} == before and len(after) == 24
    now = {n: p for n, (p, _) in samples(toy)['cls'].items()}
    assert {n: now[n] for n in splits} == splits


def test_a_changed_image_is_written_again(toy):
    toy.fill(12)
    run(toy)
    image = np.zeros((30, 40), np.uint8)
    cv2.imwrite(str(toy.images[0].source), image)
    (toy.root / 'official.csv').write_text('image,of,another,version\n')
    run(toy)
    _, sample = samples(toy)['cls']['000.png']
    assert not sample['inputs'].any()


def test_other_arguments_are_refused_then_forced(toy):
    toy.fill(24)
    run(toy)
    before = checksums(toy.prepared)
    with pytest.raises(
        UserError, match='prepared with seed=0 instead of seed=1; use.*--force'
    ):
        run(toy, seed=1)
    assert checksums(toy.prepared) == before
    run(toy, seed=1, force=True)
    assert checksums(toy.prepared) != before
    run(toy, force=True)
    assert checksums(toy.prepared) == before


def slow_down(toy, monkeypatch):
    draw = Block.draw

    def slow(*args):
        time.sleep(0.01)
        return draw(*args)

    monkeypatch.setattr(Block, 'draw', slow)


def children_of(process):
    found = []
    for stat in os.listdir('/proc'):
        if stat.isdecimal():
            try:
                with open(f'/proc/{stat}/stat') as file:
                    text = file.read()
            except OSError:
                continue
            if int(text.rpartition(')')[2].split()[1]) == process:
                found.append(int(stat))
    return found


@pytest.mark.parametrize('force', [False, True])
def test_kill_and_go_on(toy, monkeypatch, force):
    toy.fill(48)
    run(toy)
    expected = checksums(toy.prepared)
    if not force:
        shutil.rmtree(toy.prepared)
    slow_down(toy, monkeypatch)
    context = multiprocessing.get_context('fork')
    process = context.Process(
        target=run, args=(toy,), kwargs=dict(workers=2, force=force)
    )
    process.start()
    journal = toy.prepared / '.toy.journal'
    deadline = time.monotonic() + 30
    while not journal.exists() or journal.read_text().count('\n') < 15:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    workers = children_of(process.pid)
    process.kill()
    process.join()
    while any(os.path.exists(f'/proc/{worker}') for worker in workers):
        assert time.monotonic() < deadline  # workers end by themselves
        time.sleep(0.05)
    assert process.exitcode == -signal.SIGKILL
    assert not (toy.prepared / 'toy.manifest.json').exists()
    with journal.open('a') as file:
        file.write('["0123", {"na')  # a line that was cut off
    lines = journal.read_text().split('\n')[1:]
    done = {json.loads(line)[1]['name'] for line in lines[:-1] if line}
    before = times(toy.prepared / 'images')
    monkeypatch.undo()
    run(toy)
    assert not journal.exists()
    assert checksums(toy.prepared) == expected
    after = times(toy.prepared / 'images')
    kept = {p for p in before if after.get(p) == before[p]}
    assert {path.name for path in kept} >= done and len(done) >= 8
    if force:
        # what the killed run did not reach is written anew
        assert len(kept) < 48


def test_two_datasets_share_images(toy):
    toy.fill(12)
    other = toy.config.with_name('other.py')
    text = toy.config.read_text().replace('toy = dict', 'other = dict')
    other.write_text(text)
    run(toy)
    with pytest.raises(UserError, match='csv belongs to dataset "toy"; name'):
        prepare(other, toy.data, raw='toy')
    other.write_text(text.replace("f'prepared/", "f'prepared/other_"))
    before = times(toy.prepared / 'images')
    prepare(other, toy.data, raw='toy')
    assert times(toy.prepared / 'images') == before
    assert (toy.prepared / 'masks/other').is_dir()


def test_written_images_are_named_png(toy):
    toy.fill(12)
    for entry, suffix in zip(toy.images, ('.jpg', '.dcm', '.IMG', '', '.9')):
        entry.name = f'{entry.name[:-4]}{suffix}'
    run(toy)
    names = sorted(path.name for path in toy.prepared.glob('images/*'))
    assert names[:5] == ['000.png', '001.png', '002.png', '003.png',
                         '004.9.png']  # fmt: skip
    assert sorted(samples(toy)['seg']) == names


def test_images_in_place(toy):
    toy.fill(12)
    toy.configure(img_dir='raw/')
    run(toy)
    assert not (toy.prepared / 'images').exists()
    assert samples(toy)['loc']['003.png']
    toy.configure(img_dir='elsewhere/')
    run(toy, force=True)
    assert samples(toy)['loc']['../raw/003.png']
    assert not check_prepared(toy.config, toy.data, workers=1).problems


@pytest.mark.parametrize('img_dir', ['raw/', 'prepared/images/'])
def test_sources_in_another_form_are_found(toy, img_dir, log):
    toy.fill(24)
    for image in toy.images[:2]:
        image.source.rename(image.source.with_suffix('.PNG'))
    toy.configure(img_dir=img_dir)
    assert not run(toy)['unreadable']
    assert '2 of 24 images are written in another way' in log.text
    suffix = 'PNG' if img_dir == 'raw/' else 'png'
    found = samples(toy)
    assert {f'000.{suffix}', f'001.{suffix}', '002.png'} <= set(found['seg'])
    run(toy)
    assert 'nothing to do' in log.text


def damage(entry):
    entry.source.write_bytes(entry.source.read_bytes()[:200])


def test_unreadable_images(toy):
    toy.fill(24)
    damage(toy.images[7])
    with pytest.raises(
        UserError,
        match=r'1 of the first \d+ images of toy cannot be read '
        r'\(.*007.png: .*\); complete the official files, or allow .* 0.001 '
        'with --max-unreadabl',
    ):
        run(toy)
    # what is missing is counted before anything is decoded
    toy.images[9].source.unlink()
    with pytest.raises(
        UserError,
        match=r'1 of 24 images of toy are missing \(the first is .*009.png\); '
        'complete the official files',
    ):
        run(toy)
    content = run(toy, max_unreadable_ratio=0.1)
    assert [e['image'] for e in content['unreadable']] == [
        '007.png',
        '009.png',
    ]
    assert 'cut off' in content['unreadable'][0]['reason']
    assert content['notes'] == ['images that cannot be read: 2 skipped']
    assert '007.png' not in samples(toy)['cls']
    # once fixed, it comes in
    toy.fill(1, start=7)
    toy.images.pop()
    (toy.root / 'official.csv').write_text('fixed\n')
    content = run(toy, max_unreadable_ratio=0.1)
    assert [e['image'] for e in content['unreadable']] == ['009.png']


def test_published_lists(toy, tmp_path):
    toy.fill(24)
    lists = {}
    for split, first in (('train', 0), ('test', 16)):
        path = tmp_path / f'{split}.txt'
        path.write_text(
            ''.join(f'{n:03d}.jpeg 1\n' for n in range(first, first + 16))
        )
        lists[split] = path
    with pytest.raises(UserError, match='is already in the list of train'):
        run(toy, split_from=dict(lists, train=lists['test']))
    content = run(toy, split_from=lists)
    splits = {n: p for n, (p, _) in samples(toy)['cls'].items()}
    assert all(splits[f'{n:03d}.png'] == 'test' for n in range(16, 24))
    assert set(splits.values()) == set(SPLITS)
    with pytest.raises(UserError, match='prepared with lists='):
        run(toy)
    assert content['notes'] == [
        'rows of test.txt that name no image, such as "024.jpeg 1": 8 skipped'
    ]
    with pytest.raises(UserError, match='list is for "dev"; splits are'):
        run(toy, split_from=dict(dev=lists['train']))
    with pytest.raises(UserError, match='The list none.txt of train does not'):
        run(toy, split_from=dict(train='none.txt'))


def test_a_split_that_the_raw_dataset_lacks(toy):
    toy.fill(24)
    for number, entry in enumerate(toy.images):
        entry.split = 'val' if number < 6 else 'train'
    content = run(toy)
    assert (
        'prepared/test.csv is not written: no image is in test'
        in (content['notes'])
    )
    assert not (toy.prepared / 'test.csv').exists()


def test_shared_patients_of_official_splits_are_named(toy):
    toy.fill(24)
    for number, entry in enumerate(toy.images):
        entry.split = SPLITS[number % 3]
    notes = run(toy)['notes']
    assert any(
        note.startswith('patients in several official splits of toy/cls: 12')
        for note in notes
    )


def test_a_drawn_split_must_not_be_empty(toy):
    toy.fill(2)
    with pytest.raises(
        UserError,
        match='No image of toy/cls was drawn for "(val|train|test)": its 1 '
        'patients are too few; take another --seed',
    ):
        run(toy)


def test_mistakes_of_raw_files(toy):
    with pytest.raises(RawError, match='raw dataset toy has no images'):
        run(toy)
    toy.fill(12)
    toy.configure(Effusion='Efusion')
    with pytest.raises(
        UserError,
        match='"toy" has no label "Efusion" .* did you mean "Effusion"',
    ):
        run(toy)
    toy.configure()
    toy.images[1].name = 'r\udcffntgen.png'
    with pytest.raises(
        UserError, match=r"'r\\udcffntgen.png', which is no UTF"
    ):
        run(toy)
    toy.images[1].name = toy.images[0].name
    with pytest.raises(UserError, match='has image "000.png" twice'):
        run(toy)
    toy.images[1].name = '../1.png'
    with pytest.raises(UserError, match='"../1.png", which leaves the folder'):
        run(toy)


@pytest.mark.parametrize('img_dir', ['prepared/images/', 'raw/'])
@pytest.mark.parametrize('path', ['/etc/passwd', '{root}/../raw/001.png'])
def test_sources_outside_of_the_folder_are_refused(toy, img_dir, path):
    toy.fill(12)
    toy.configure(img_dir)
    toy.images[1].source = path.format(root=toy.root)
    with pytest.raises(UserError, match='which leaves .*/toy; correct the na'):
        run(toy)


@pytest.mark.parametrize('img_dir', ['prepared/images/', 'raw/'])
def test_a_name_with_a_null_byte_is_a_missing_image(toy, img_dir):
    toy.fill(12)
    toy.configure(img_dir)
    toy.images[1].source = str(toy.root / 'raw/0\x001.png')
    message = r'1 of 12 images .* missing \(the first is .*/0\\x001.png'
    with pytest.raises(UserError, match=message):
        run(toy)
    ratios = dict(train=0.4, val=0.3, test=0.3)
    toy.register(split_ratios=ratios, holds='raw/')
    with pytest.raises(UserError, match='toy holds raw/; complete the offic'):
        run(toy)


def test_files_of_another_form_are_no_traceback(toy):
    toy.register()
    RAW_DATASETS['toy'] = RawDataset('toy', lambda folder: [len(5)])
    with pytest.raises(RawError, match='not of the form .* FX_MM_DEBUG=1'):
        run(toy)
    (toy.prepared / 'toy.manifest.json').write_text('[]')
    with pytest.raises(UserError, match='toy.manifest.json is damaged; delet'):
        run(toy)


def test_what_a_reader_skips_is_in_the_manifest(toy):
    def read(folder):
        yield from toy.images
        folder.skipped.add(0, 'cats')
        folder.skipped.add(2, 'images of dogs')

    toy.fill(12)
    ratios = dict(train=0.4, val=0.3, test=0.3)
    RAW_DATASETS['toy'] = RawDataset('toy', read, split_ratios=ratios)
    assert run(toy)['notes'] == ['images of dogs: 2 skipped']
    assert run(toy)['notes'] == ['images of dogs: 2 skipped']


def test_images_that_went_after_a_kill_come_back(toy, monkeypatch):
    toy.fill(12)
    expected = run(toy)
    files = checksums(toy.prepared)
    shutil.rmtree(toy.prepared)
    monkeypatch.setattr(Manifest, 'write', lambda *_: os.kill(os.getpid(), 9))
    context = multiprocessing.get_context('fork')
    process = context.Process(target=run, args=(toy,))
    process.start()
    process.join()
    monkeypatch.undo()
    assert (toy.prepared / '.toy.journal').exists()
    shutil.rmtree(toy.prepared / 'images')
    assert run(toy) == expected
    assert checksums(toy.prepared) == files


def test_a_form_that_the_raw_dataset_lacks(toy):
    toy.fill(12)
    for entry in toy.images:
        entry.boxes = entry.masks = None
    content = run(toy)
    assert content['notes'] == [
        'the raw dataset has no boxes for toy/loc, whose files are not '
        'written',
        'the raw dataset has no masks for toy/seg, whose files are not '
        'written',
    ]
    assert sorted(content['tables']) == [
        f'prepared/{split}.csv' for split in sorted(SPLITS)
    ]
    assert run(toy) == content
    for entry in toy.images:
        entry.labels = None
    with pytest.raises(RawError, match='has no labels or boxes or masks, whi'):
        run(toy)


def test_argument_mistakes(toy):
    toy.fill(12)
    ratios = dict(train=1, val=1, test=1)
    with pytest.raises(UserError, match='"toy" has no option "x" nor any oth'):
        run(toy, options=dict(x=1))
    toy.register(split_ratios=ratios, options=dict(order='a'))
    with pytest.raises(UserError, match='no option "ordr"; did you mean "ord'):
        run(toy, options=dict(ordr='b'))
    run(toy, options=dict(order='b'))
    toy.register(split_ratios=ratios, options=dict(iou=0.4))
    with pytest.raises(UserError, match='iou of "toy" is \'x\'; it must be a'):
        run(toy, options=dict(iou='x'))
    toy.register(split_ratios=ratios, options=dict(order='a'))
    assert toy.options == dict(order='b')
    with pytest.raises(UserError, match='The seed is -1; it must be a whole'):
        run(toy, seed=-1)
    with pytest.raises(UserError, match='Unknown raw dataset "nothing"; know'):
        run(toy, raw='nothing')
    shutil.rmtree(toy.root)
    with pytest.raises(UserError, match='data/toy does not exist; put the of'):
        run(toy)
    manifest = toy.prepared / 'toy.manifest.json'
    manifest.parent.mkdir(parents=True)
    manifest.write_text('{')
    with pytest.raises(UserError, match='manifest.json is damaged; delete it'):
        run(toy)
