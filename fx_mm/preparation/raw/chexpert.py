"""CheXpert: labels of CheXpert's labeler, a path per row."""

import re
from collections.abc import Iterator
from pathlib import Path

from fx_mm.preparation.cell_values import parse_age, parse_labels, parse_sex
from fx_mm.preparation.raw_dataset import RawImage, raw_dataset
from fx_mm.preparation.raw_folder import RawFolder
from fx_mm.utils.errors import UserError

CLASSES = (
    'No Finding', 'Enlarged Cardiomediastinum', 'Cardiomegaly',
    'Lung Opacity', 'Lung Lesion', 'Edema', 'Consolidation', 'Pneumonia',
    'Atelectasis', 'Pneumothorax', 'Pleural Effusion', 'Pleural Other',
    'Fracture', 'Support Devices',
)  # fmt: skip
COUNTS = dict(train=223414, val=234, test=668)
FOLDERS = ('CheXpert-v1.0', 'CheXpert-v1.0-small', '.')


@raw_dataset(
    'chexpert',
    classes=CLASSES,
    holds='CheXpert-v1.0/train.csv, valid.csv, train/ and valid/',
    official_counts=COUNTS,
)
def read_chexpert(folder: RawFolder) -> Iterator[RawImage]:
    """Read the tables of train and valid, and the test set's.

    The test set came years later, under several names; without it there is
    no test split.
    """
    train = folder.find(*(f'{at}/train.csv' for at in FOLDERS))
    at = train.parent.relative_to(folder.root)
    valid = folder.find((at / 'valid.csv').as_posix())
    test = folder.find_optional(
        'CheXpert_test_official.csv',
        *(
            f'{at}/{name}'
            for at in FOLDERS
            for name in ('test_labels.csv', 'test.csv', 'groundtruth.csv')
        ),
    )
    yield from _read_split(folder, train, 'train')
    yield from _read_split(folder, valid, 'val')
    if test is None:
        folder.skipped.add(
            COUNTS['test'],
            'test images, since there is no CheXpert_test_official.csv',
        )
    else:
        yield from _read_split(folder, test, 'test')


def _read_split(
    folder: RawFolder, path: Path, split: str
) -> Iterator[RawImage]:
    table = folder.open_table(path)
    known = ('Sex', 'Age', 'Frontal/Lateral', 'AP/PA')
    columns = [name for name in known if name in table]
    find_patient = re.compile(r'patient\d+').search
    small = (folder.root / 'CheXpert-v1.0-small' / 'test').is_dir()
    images = f'CheXpert-v1.0{"-small" if small else ""}'
    for where, (name, *cells) in table.rows('Path', *CLASSES, *columns):
        patient = find_patient(name)
        if patient is None:
            raise UserError(
                f'{where}: the path "{name}" names no patient, such as '
                "patient00001; is the table CheXpert's?"
            )
        if name.startswith('test/'):
            name = f'{images}/{name}'
        further = dict(zip(columns, cells[len(CLASSES) :]))
        yield RawImage(
            name,
            folder.root / name,
            patient[0],
            split,
            labels=parse_labels(CLASSES, cells, where),
            metadata=dict(
                sex=parse_sex(further.get('Sex', '')),
                age=parse_age(further.get('Age', '')),
                view=further.get('AP/PA') or further.get('Frontal/Lateral'),
            ),
        )
