"""Releases with masks: run-length codes, polygons, files."""

import re
from collections.abc import Iterator
from pathlib import Path

from fx_mm.preparation.entries import Entry, release
from fx_mm.preparation.mask_files import MaskFile
from fx_mm.preparation.polygons import Polygon
from fx_mm.preparation.raw import vindr
from fx_mm.preparation.raw.folders import (
    find,
    find_images,
    find_optional,
    read_json,
    read_records,
)
from fx_mm.preparation.raw.label_tables import (
    parse_tuberculosis,
    read_clinical_reading,
)
from fx_mm.preparation.raw.tables import Table, parse_age, parse_box, parse_sex
from fx_mm.preparation.run_length import EMPTY, RunLength
from fx_mm.preparation.skipped import leave_out
from fx_mm.utils.errors import UserError

CHESTX_DET_CLASSES = (
    'Atelectasis', 'Calcification', 'Cardiomegaly', 'Consolidation',
    'Diffuse Nodule', 'Effusion', 'Emphysema', 'Fibrosis', 'Fracture', 'Mass',
    'Nodule', 'Pleural Thickening', 'Pneumothorax',
)  # fmt: skip
LONGEST_SIDE = 2**15
"""Pixels that no X-ray has along a side."""
RIBS = tuple(f'{side}{n}' for side in 'RL' for n in range(1, 11))


@release(
    'siim_acr',
    shares=dict(train=0.8, val=0.1, test=0.1),
    boxes_of='part',
    expected=dict(images=12047, Pneumothorax=2669),
)
def read_siim_acr(root: Path) -> Iterator[Entry]:
    """Read SIIM-ACR: relative run lengths down the columns, a row a part."""
    holds = 'train-rle.csv (or stage_2_train.csv) and the DICOM files'
    path = find(
        root,
        'stage_2_train.csv',
        'train-rle.csv',
        '*/stage_2_train.csv',
        '*/train-rle.csv',
        holds=holds,
    )
    parts: dict = {}
    for where, (image, code) in Table(path).rows('ImageId', 'EncodedPixels'):
        known = parts.setdefault(image, [])
        if code not in EMPTY:
            known.append(RunLength(code, relative=True, where=where))
    files = find_images(root, '.dcm')
    leave_out(
        len(files.keys() - parts), f'images that have no row in {path.name}'
    )
    for image, masks in parts.items():
        yield Entry(
            f'{image}.png',
            files.get(image, root / f'{image}.dcm'),
            image,
            labels=dict(Pneumothorax=int(bool(masks))),
            masks=dict(Pneumothorax=masks),
        )


@release(
    'candid_ptx',
    shares=dict(train=0.7, val=0.1, test=0.2),
    boxes_of='part',
    expected=dict(images=19237, Pneumothorax=3196),
    options=dict(order='column'),
)
def read_candid_ptx(root: Path, order: str = 'column') -> Iterator[Entry]:
    """Read CANDID-PTX: relative run lengths, a row a part.

    Args:
        root (Path): Folder of the release.
        order (str): See :class:`RunLength`. Defaults to 'column', as
            published readers of these codes do.
    """
    holds = 'Pneumothorax_reports.csv and dataset/ with the DICOM files'
    table = Table(find(root, 'Pneumothorax_reports.csv', holds=holds))
    # file names before the images were made anonymous: patient_..., optional
    named = ['filename'] if 'filename' in table else []
    parts: dict = {}
    patients: dict = {}
    for where, (image, code, *names) in table.rows(
        'SOPInstanceUID', 'EncodedPixels', *named
    ):
        known = parts.setdefault(image, [])
        patient = names[0].split('_')[0] if names else ''
        patients.setdefault(image, set()).add(patient or image)
        if code not in EMPTY:
            code = RunLength(code, relative=True, order=order, where=where)
            known.append(code)
    shared = {image for image, whose in patients.items() if len(whose) > 1}
    leave_out(len(shared), 'images that the table gives to several patients')
    # the files' names have no suffix, but copies may have one
    files = find_images(root / 'dataset', '.dcm', '')
    for image, masks in parts.items():
        if image in shared:
            continue
        yield Entry(
            f'{image}.png',
            files.get(image, root / 'dataset' / image),
            patients[image].pop(),
            labels=dict(Pneumothorax=int(bool(masks))),
            masks=dict(Pneumothorax=masks),
        )


@release(
    'vindr_organs',
    hold_out=0.1,
    boxes_of='class',
    expected=dict(images=18000, test=3000),
    options=dict(min_dice=0.0),
)
def read_vindr_organs(root: Path, min_dice: float = 0.0) -> Iterator[Entry]:
    """Read CheXmask's organs of VinDr-CXR: absolute run lengths, by rows.

    Args:
        root (Path): Folder of VinDr-CXR, CheXmask's file in it.
        min_dice (float): Estimated Dice (its mean by reverse classification
            accuracy) that an image's masks have at least; CheXmask advises
            0.7. Defaults to 0.
    """
    path = find(
        root,
        'OriginalResolution/VinDr-CXR.csv',
        'VinDr-CXR.csv',
        '**/OriginalResolution/VinDr-CXR.csv',
        holds=f'OriginalResolution/VinDr-CXR.csv of CheXmask, {vindr.HOLDS}',
    )
    columns = {
        'Heart': 'Heart',
        'Left lung': 'Left Lung',
        'Right lung': 'Right Lung',
    }
    organs: dict = {}
    doubtful = 0
    for where, (image, dice, height, width, *codes) in Table(path).rows(
        'image_id', 'Dice RCA (Mean)', 'Height', 'Width', *columns.values()
    ):
        try:
            size = int(float(height)), int(float(width))
            estimate = float(dice)
            usable = min(size) > 0 and max(size) < LONGEST_SIDE
        except (ValueError, OverflowError):
            usable = False
        if not usable:
            raise UserError(
                f'{where}: Height "{height}", Width "{width}" or Dice RCA '
                f'(Mean) "{dice}" cannot be; is the file whole?'
            )
        if estimate < min_dice:
            doubtful += 1
            continue
        organs[image] = {
            name: [RunLength(code, order='row', size=size, where=where)]
            if code not in EMPTY
            else []
            for name, code in zip(columns, codes)
        }
    leave_out(doubtful, f'images with an estimated Dice below {min_dice}')
    tested = vindr.list_test_images(root)
    for split, images in (
        ('train', [image for image in organs if image not in tested]),
        ('test', [image for image in organs if image in tested]),
    ):
        for image, source in vindr.list_images(root, split, images).items():
            yield Entry(
                f'{split}/{image}.png',
                source,
                image,
                split,
                masks=organs[image],
            )


@release('vindr_ribcxr', hold_out=0.1, expected=dict(images=245, test=49))
def read_vindr_ribcxr(root: Path) -> Iterator[Entry]:
    """Read VinDr-RibCXR: a polygon a rib; its validation part is our test."""
    files = {path.name: path for path in find_images(root, '.png').values()}
    for part, split in (('train', 'train'), ('val', 'test')):
        name = f'V*_RibCXR_{part}_mask.json'
        path = find(
            root,
            name,
            f'**/{name}',
            holds='Vindr_RibCXR_train_mask.json, Vindr_RibCXR_val_mask.json '
            'and the images',
        )
        data = read_json(path)
        missing = sorted({'img', *RIBS}.difference(data))
        if missing:
            raise UserError(
                f'{path}: has no "{missing[0]}"; is it the release\'s own '
                'file?'
            )
        ribs = {rib: dict(_items(data[rib])) for rib in RIBS}
        for key, image in _items(data['img']):
            # paths of the file begin with data/, which may be Data/ on disk
            source = files.get(Path(image).name, root / image)
            yield Entry(
                source.relative_to(root).as_posix(),
                source,
                source.stem,
                split,
                masks={
                    rib: _read_rib(
                        ribs[rib].get(key), f'{path}, {rib} of image {key}'
                    )
                    for rib in RIBS
                },
            )


def _items(values: dict | list) -> list:
    """Give the pairs of a dict of numbers as text, or of a list."""
    if isinstance(values, dict):
        return list(values.items())
    return [(str(i), value) for i, value in enumerate(values)]


def _read_rib(points, where: str) -> list:
    """Read one rib; ``None`` as text or not stands for one not drawn."""
    if not points or points == 'None':
        return []
    try:
        corners = [(p['x'], p['y']) for p in points]
    except (KeyError, TypeError):
        corners = points  # which Polygon refuses by name
    return [Polygon(corners, where)]


@release('chestx_det', hold_out=0.1, expected=dict(images=3578, test=553))
def read_chestx_det(root: Path) -> Iterator[Entry]:
    """Read ChestX-Det: a finding, a box and a polygon an instance."""
    classes = CHESTX_DET_CLASSES
    for split in ('train', 'test'):
        path = find(
            root,
            f'ChestX_Det_{split}.json',
            holds='ChestX_Det_train.json, ChestX_Det_test.json, train_data/ '
            'and test_data/',
        )
        for where, (name, found, boxes, polygons) in read_records(
            path, 'file_name', 'syms', 'boxes', 'polygons'
        ):
            where = f'{where} ({name})'
            unknown = sorted(set(found).difference(classes))
            if unknown:
                raise UserError(
                    f'{where}: unknown finding "{unknown[0]}"; known: '
                    f'{", ".join(classes)}.'
                )
            if not len(found) == len(boxes) == len(polygons):
                raise UserError(
                    f'{where}: has {len(found)} findings, {len(boxes)} boxes '
                    f'and {len(polygons)} polygons; download the file anew.'
                )
            masks: dict = {c: [] for c in classes}
            for finding, points in zip(found, polygons):
                masks[finding].append(Polygon(points, where))
            yield Entry(
                f'{split}_data/{name}',
                root / f'{split}_data' / name,
                Path(name).stem,
                split,
                labels={c: int(c in found) for c in classes},
                boxes=[
                    parse_box(finding, box, where)
                    for finding, box in zip(found, boxes)
                ],
                masks=masks,
            )


@release(
    'montgomery',
    shares=dict(train=0.7, val=0.1, test=0.2),
    expected=dict(images=138),
)
def read_montgomery(root: Path) -> Iterator[Entry]:
    """Read NIH Montgomery: a file a lung."""
    holds = 'CXR_png/, ManualMask/leftMask/, ManualMask/rightMask/'
    folder = find(root, 'CXR_png', holds=holds)
    masks = find(root, 'ManualMask', holds=holds)
    for stem, path in find_images(folder, '.png').items():
        facts, text = read_clinical_reading(root, stem)
        # some patients came twice: "NO REPORT (same pt as MCUCXR_0162_1)"
        same = re.search(r'same (?:pt|patient) as (MCUCXR_\d+_\d)', text)
        yield Entry(
            path.name,
            path,
            same[1] if same else stem,
            labels=parse_tuberculosis(stem, path),
            masks=dict(
                Lung=[
                    MaskFile(masks / f'{side}Mask' / path.name)
                    for side in ('left', 'right')
                ]
            ),
            facts=facts,
        )


@release('jsrt', hold_out=0.1, expected=dict(images=247, test=123))
def read_jsrt(root: Path) -> Iterator[Entry]:
    """Read JSRT with SCR's masks, whose first fold trains, second tests."""
    holds = 'All247images/ and scratch/ with fold1/masks/ and fold2/masks/'
    images = find(root, 'All247images', holds=holds)
    folds = {
        split: find(root, f'scratch/{fold}', fold, f'*/{fold}', holds=holds)
        for split, fold in (('train', 'fold1'), ('test', 'fold2'))
    }
    facts = _read_jsrt_facts(root)
    structures = {
        'Lung': ('left lung', 'right lung'),
        'Heart': ('heart',),
        'Clavicle': ('left clavicle', 'right clavicle'),
    }
    for stem, path in find_images(images, '.img').items():
        split = next(
            (
                split
                for split, fold in folds.items()
                if (fold / 'masks' / 'heart' / f'{stem}.gif').is_file()
            ),
            None,
        )
        if split is None:
            raise UserError(
                f'{path}: has no mask masks/heart/{stem}.gif in fold1 or '
                'fold2; unpack the whole of SCR.'
            )
        yield Entry(
            f'{stem}.png',
            path,
            stem,
            split,
            labels=dict(Nodule=int(stem.startswith('JPCLN'))),
            masks={
                name: [
                    MaskFile(folds[split] / 'masks' / part / f'{stem}.gif')
                    for part in parts
                ]
                for name, parts in structures.items()
            },
            facts=facts.get(stem, {}),
        )


def _read_jsrt_facts(root: Path) -> dict:
    """Read age and sex from JSRT's clinical information, if it is there."""
    facts = {}
    for name in ('CLNDAT_EN', 'CNNDAT_EN'):
        for suffix in ('txt', 'TXT'):
            path = find_optional(
                root, f'{name}.{suffix}', f'*/{name}.{suffix}'
            )
            text = path.read_text(errors='replace') if path else ''
            # such as "JPCLN001.IMG 5 15 53 male 1634 692 malignant ..."
            for stem, age, sex in re.findall(
                r'(JPC[LN]N\d{3})\.IMG[^\n]*?(\d+)[ \t,]+(female|male)', text
            ):
                facts[stem] = dict(sex=parse_sex(sex), age=parse_age(age))
    return facts
