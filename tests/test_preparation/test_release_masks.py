"""Releases with masks, on tiny made-up ones."""

import numpy as np
import pytest
from PIL import Image
from release_helpers import by_name, read, write_release

from fx_mm.phantom.raw_layouts.mask_codes import run_lengths
from fx_mm.preparation.raw.masks import RIBS
from fx_mm.utils.errors import UserError

CHEXMASK = (
    'image_id,Dice RCA (Max),Dice RCA (Mean),Landmarks,Left Lung,Right Lung,'
    'Heart,Height,Width\n'
)


@pytest.fixture
def part():
    """A mask of 16x12 pixels."""
    mask = np.zeros((16, 12), bool)
    mask[3:9, 2:7] = True
    return mask


def drawn(entry, name, shape=(16, 12)):
    masks = [mask.draw(*shape) for mask in entry.masks[name]]
    return np.logical_or.reduce(masks)


@pytest.mark.parametrize('empty', ['-1', ' -1', ''])
@pytest.mark.parametrize('table', ['train-rle.csv', 'stage_2_train.csv'])
def test_siim_reads_a_row_a_part(tmp_path, part, said, table, empty):
    rows = [
        'ImageId, EncodedPixels',
        f'1.2.3,{empty}',
        f'1.2.4,{run_lengths(part, True, True)}',
        f'1.2.4,{run_lengths(part[:, ::-1], True, True)}',
    ]
    files = {
        table: '\n'.join(rows),
        'dicom-images-train/7/8/1.2.4.dcm': '',
        'dicom-images-train/7/8/1.2.5.dcm': '',
    }
    root = write_release(tmp_path, files)
    healthy, sick = read('siim_acr', root)
    assert said == [f'Left out: 1 images that have no row in {table}.']
    assert healthy.labels == dict(Pneumothorax=0)
    assert healthy.masks == dict(Pneumothorax=[]) and healthy.boxes is None
    assert healthy.source == root / '1.2.3.dcm'
    assert sick.labels == dict(Pneumothorax=1) and sick.name == '1.2.4.png'
    assert len(sick.masks['Pneumothorax']) == 2
    assert np.array_equal(drawn(sick, 'Pneumothorax'), part | part[:, ::-1])
    assert sick.source.relative_to(root).parts[-1] == '1.2.4.dcm'


def test_siim_names_the_row_of_a_broken_code(tmp_path):
    table = 'ImageId, EncodedPixels\n1.2,1 2 3\n'
    (entry,) = read(
        'siim_acr', write_release(tmp_path, {'train-rle.csv': table})
    )
    with pytest.raises(
        UserError, match='train-rle.csv, row 2: the run-length'
    ):
        drawn(entry, 'Pneumothorax')


@pytest.mark.parametrize('suffix', ['', '.dcm'])
def test_candid_reads_parts_and_patients(tmp_path, part, said, suffix):
    rows = [
        'filename,SOPInstanceUID,EncodedPixels,Report',
        'P7_1,1.2.3,-1,"normal,\nreally"',
        f'P7_2,1.2.4,{run_lengths(part, True, True)},none',
        'P8_1,1.2.5,-1,x',
        'P9_1,1.2.5,-1,x',
    ]
    files = {'Pneumothorax_reports.csv': '\n'.join(rows)}
    files[f'dataset/1.2.4{suffix}'] = ''
    root = write_release(tmp_path, files)
    healthy, sick = read('candid_ptx', root)
    assert healthy.labels == dict(Pneumothorax=0)
    assert healthy.masks == dict(Pneumothorax=[])
    assert healthy.patient == sick.patient == 'P7'
    assert sick.source == root / 'dataset' / f'1.2.4{suffix}'
    assert sick.name == '1.2.4.png'
    assert np.array_equal(drawn(sick, 'Pneumothorax'), part)
    assert said == [
        'Left out: 1 images that the table gives to several patients.'
    ]


def test_candid_codes_may_run_along_the_rows(tmp_path, part):
    text = run_lengths(part, False, True)
    table = f'SOPInstanceUID,EncodedPixels,Report\n1.2,{text},none\n'
    root = write_release(tmp_path, {'Pneumothorax_reports.csv': table})
    (entry,) = read('candid_ptx', root, order='row')
    assert np.array_equal(drawn(entry, 'Pneumothorax'), part)
    assert entry.patient == '1.2'
    with pytest.raises(UserError, match='is "column" or "row", not "rows"'):
        read('candid_ptx', root, order='rows')


def organ_files(part):
    code = run_lengths(part, False, False)
    return {
        'OriginalResolution/VinDr-CXR.csv': f'{CHEXMASK}'
        f'a,0.9,0.8,"[1, 2]",{code},,{code},16,12\n'
        f'b,0.9,0.6,"[1, 2]",{code},{code},{code},16.0,12.0\n',
        'annotations/image_labels_test.csv': 'image_id\nb\n',
    }


def test_organs_are_drawn_by_rows_and_split_as_vindr(tmp_path, part):
    root = write_release(tmp_path, organ_files(part))
    first, test = read('vindr_organs', root)
    assert first.masks['Right lung'] == []
    assert np.array_equal(drawn(first, 'Left lung'), part)
    assert np.array_equal(drawn(first, 'Heart'), part)
    assert first.name == 'train/a.png' and first.split == 'train'
    assert test.name == 'test/b.png' and test.split == 'test'
    double = part.repeat(2, 0).repeat(2, 1)
    assert np.array_equal(drawn(test, 'Right lung', (32, 24)), double)


@pytest.mark.parametrize('edge', ['0', '-5', '1e9', 'inf', 'x'])
def test_organs_of_an_impossible_size_are_refused(tmp_path, part, edge):
    files = organ_files(part)
    name = 'OriginalResolution/VinDr-CXR.csv'
    files[name] = files[name].replace(',16,12', f',16,{edge}')
    with pytest.raises(UserError, match='row 2: Height "16", Width .* cannot'):
        read('vindr_organs', write_release(tmp_path, files))


def test_doubtful_organs_are_left_out_if_asked(tmp_path, part, said):
    root = write_release(tmp_path, organ_files(part))
    (first,) = read('vindr_organs', root, min_dice=0.7)
    assert first.name == 'train/a.png'
    assert said == ['Left out: 1 images with an estimated Dice below 0.7.']


def test_organs_know_test_images_by_their_folder(tmp_path, part):
    files = organ_files(part)
    del files['annotations/image_labels_test.csv']
    files['test/b.dicom'] = ''
    first, test = read('vindr_organs', write_release(tmp_path, files))
    assert (first.split, test.split) == ('train', 'test')


def test_organs_need_to_know_the_test_images(tmp_path, part):
    files = organ_files(part)
    del files['annotations/image_labels_test.csv']
    with pytest.raises(
        UserError, match='has no annotations/image_labels_test'
    ):
        read('vindr_organs', write_release(tmp_path, files))


def test_organs_refuse_a_size_that_is_no_number(tmp_path, part):
    files = organ_files(part)
    name = 'OriginalResolution/VinDr-CXR.csv'
    files[name] = files[name].replace('16,12', 'x,12')
    with pytest.raises(UserError, match='row 2: Height "x", Width "12"'):
        read('vindr_organs', write_release(tmp_path, files))


def rib_data(image, as_list=False, **ribs):
    box = [dict(x=x, y=y) for x, y in ((2, 3), (6, 3), (6, 8), (2, 8))]
    data = {'img': {'0': image}}
    data |= {rib: {'0': ribs.get(rib, box)} for rib in RIBS}
    return {k: list(v.values()) for k, v in data.items()} if as_list else data


@pytest.mark.parametrize('as_list', [False, True])
@pytest.mark.parametrize('folder', ['', 'Annotations/train/'])
def test_ribs_may_be_none(tmp_path, part, as_list, folder):
    files = {
        f'{folder}Vindr_RibCXR_train_mask.json': rib_data(
            'data/train/img/t_000.png', as_list, R1='None'
        ),
        f'{folder}Vindr_RibCXR_val_mask.json': rib_data(
            'data/val/img/v_000.png', as_list, L10=None
        ),
        'Data/train/img/t_000.png': '',
    }
    first, test = read('vindr_ribcxr', write_release(tmp_path, files))
    assert first.masks['R1'] == [] and test.masks['L10'] == []
    assert len(first.masks) == 20
    assert np.array_equal(drawn(first, 'L10'), part)
    assert first.name == 'Data/train/img/t_000.png'
    assert test.name == 'data/val/img/v_000.png'
    assert (first.split, test.split) == ('train', 'test')


@pytest.mark.parametrize('points', [[dict(x=1, y=2)], [dict(a=1)] * 4, 'x'])
def test_a_broken_rib_is_named(tmp_path, points):
    name = 'Vindr_RibCXR_train_mask.json'
    root = write_release(tmp_path, {name: rib_data('a.png', R3=points)})
    with pytest.raises(
        UserError, match='json, R3 of image 0: a polygon needs'
    ):
        read('vindr_ribcxr', root)


def test_a_file_without_all_ribs_is_refused(tmp_path):
    data = rib_data('a.png')
    del data['L2']
    root = write_release(tmp_path, {'VinDr_RibCXR_train_mask.json': data})
    with pytest.raises(
        UserError, match='json: has no "L2"; is it the release'
    ):
        read('vindr_ribcxr', root)


def chestx_image(name='1.png', syms=(), boxes=(), polygons=()):
    return dict(file_name=name, syms=syms, boxes=boxes, polygons=polygons)


SQUARE = [[2, 3], [6, 3], [6, 8], [2, 8]]


def test_chestx_det_reads_instances(tmp_path, part):
    found = dict(
        syms=['Mass', 'Mass', 'Effusion'],
        boxes=[[2, 3, 6, 8], [1, 2, 3, 4], [5, 6, 7, 8]],
        polygons=[SQUARE, [[9, 9], [10, 9], [10, 10]], SQUARE],
    )
    files = {
        'ChestX_Det_train.json': [chestx_image(**found)],
        'ChestX_Det_test.json': [chestx_image('2.png')],
    }
    root = write_release(tmp_path, files)
    sick, healthy = read('chestx_det', root)
    assert healthy.boxes == [] and not any(healthy.labels.values())
    assert len(healthy.masks) == 13 and not any(healthy.masks.values())
    assert healthy.name == 'test_data/2.png' and healthy.split == 'test'
    assert sick.boxes[0] == ('Mass', 2, 3, 6, 8) and len(sick.boxes) == 3
    assert {c for c, v in sick.labels.items() if v} == {'Mass', 'Effusion'}
    assert len(sick.masks['Mass']) == 2
    assert np.array_equal(drawn(sick, 'Effusion'), part)
    assert sick.source == root / 'train_data' / '1.png'


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (dict(syms=['Mass']), r'entry 1 \(1.png\): has 1 findings, 0 boxes'),
        (dict(syms=['Gout']), r'entry 1 \(1.png\): unknown finding "Gout"'),
        (
            dict(syms=['Mass'], boxes=[[1, 2, 3, 4]], polygons=[[[1, 2]]]),
            r'entry 1 \(1.png\): a polygon needs three or more points',
        ),
        (
            dict(syms=['Mass'], boxes=[[1, 2, 1, 4]], polygons=[SQUARE]),
            r'entry 1 \(1.png\): the box of Mass \(1, 2, 1, 4\) is no',
        ),
    ],
)
def test_chestx_det_refuses_broken_entries(tmp_path, image, message):
    files = {'ChestX_Det_train.json': [chestx_image(**image)]}
    with pytest.raises(UserError, match=message):
        read('chestx_det', write_release(tmp_path, files))


def save_mask(path, mask):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)


def test_montgomery_unites_the_lungs_and_knows_its_patients(tmp_path, part):
    head = "Patient's Sex: F\nPatient's Age: 027Y\n"
    names = ('MCUCXR_0001_0', 'MCUCXR_0002_1')
    files = {f'CXR_png/{name}.png': '' for name in names}
    files['ClinicalReadings/MCUCXR_0001_0.txt'] = f'{head}normal\n'
    files['ClinicalReadings/MCUCXR_0002_1.txt'] = (
        f'{head}NO REPORT (same pt as MCUCXR_0001_0)\n'
    )
    root = write_release(tmp_path, files)
    for name in names:
        masks = root / 'ManualMask'
        save_mask(masks / 'leftMask' / f'{name}.png', part)
        save_mask(masks / 'rightMask' / f'{name}.png', part[:, ::-1])
    healthy, sick = read('montgomery', root)
    assert healthy.labels == dict(TB=0) and sick.labels == dict(TB=1)
    assert healthy.facts == dict(sex='F', age=27)
    assert healthy.patient == sick.patient == 'MCUCXR_0001_0'
    assert np.array_equal(drawn(sick, 'Lung'), part | part[:, ::-1])


STRUCTURES = ('heart', 'left lung', 'right lung', 'left clavicle')
STRUCTURES += ('right clavicle',)


@pytest.mark.parametrize('folder', ['scratch/', '', 'scr/'])
def test_jsrt_splits_by_the_folds_of_its_masks(tmp_path, part, folder):
    root = write_release(
        tmp_path,
        {
            'All247images/JPCLN001.IMG': '',
            'All247images/JPCNN002.IMG': '',
            'Clinical_Information/CLNDAT_EN.txt': 'JPCLN001.IMG\t5\t15\t53'
            '\tmale\t1634\t692\tmalignant\n',
        },
    )
    for fold, name in (('fold1', 'JPCLN001'), ('fold2', 'JPCNN002')):
        for number, structure in enumerate(STRUCTURES):
            mask = np.roll(part, number, 1)
            path = root / f'{folder}{fold}' / 'masks' / structure
            save_mask(path / f'{name}.gif', mask)
    first, test = read('jsrt', root)
    assert (first.split, test.split) == ('train', 'test')
    assert first.labels == dict(Nodule=1) and test.labels == dict(Nodule=0)
    assert first.facts == dict(sex='M', age=53) and test.facts == {}
    assert first.source == root / 'All247images' / 'JPCLN001.IMG'
    assert first.name == 'JPCLN001.png'
    double = part.repeat(2, 0).repeat(2, 1)
    assert np.array_equal(drawn(first, 'Heart', (32, 24)), double)
    lungs = np.roll(part, 1, 1) | np.roll(part, 2, 1)
    assert np.array_equal(drawn(test, 'Lung'), lungs)
    clavicles = np.roll(part, 3, 1) | np.roll(part, 4, 1)
    assert np.array_equal(drawn(test, 'Clavicle'), clavicles)


def test_jsrt_needs_the_masks_of_every_image(tmp_path):
    files = dict.fromkeys(('All247images/JPCLN001.IMG', 'fold1/x'), '')
    root = write_release(tmp_path, files | {'fold2/x': ''})
    message = 'JPCLN001.IMG: has no mask masks/heart/JPCLN001.gif in fold1'
    with pytest.raises(UserError, match=message):
        read('jsrt', root)


def test_names_are_unique_and_stay_below_the_root(tmp_path, part):
    found = by_name('vindr_organs', write_release(tmp_path, organ_files(part)))
    assert sorted(found) == ['test/b.png', 'train/a.png']
