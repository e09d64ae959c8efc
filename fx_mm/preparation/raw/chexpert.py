"""CheXpert: labels of CheXpert's labeler, a path per row."""

import posixpath
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
FOLDERS = ('CheXpert-v1.0', 'CheXpert-v1.0-small', 'CheXpert', '.')
FIRST_VIEW = 'view1_frontal.jpg'
_PLACE = re.compile(r'(.*?)(train|valid|val|test)/((patient\d+)/.*)')
"""A folder, the part of the dataset, the path below, the patient."""


@raw_dataset(
    'chexpert',
    classes=CLASSES,
    holds='CheXpert-v1.0/train.csv, valid.csv, train/ and valid/ (or the '
    'four themselves), and of the test set test/ and its labels',
    official_counts=COUNTS,
)
def read_chexpert(folder: RawFolder) -> Iterator[RawImage]:
    """Read the tables of train and valid, and the test set's.

    The test set came years later, under several names; without it there is
    no test split. ``groundtruth.csv`` has a row per study, whose labels are
    those of all its images, as in the tables with a row per image.
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
    yield from _Split(folder, train, 'train', at).read()
    yield from _Split(folder, valid, 'val', at).read()
    if test is None:
        folder.skipped.add(
            COUNTS['test'],
            'test images, since there is no CheXpert_test_official.csv',
        )
    else:
        yield from _Split(folder, test, 'test', at).read()


class _Split:
    """The images of one table.

    Args:
        folder (RawFolder): CheXpert.
        path (Path): The table.
        split (str): Its split.
        at (Path): Folder of ``train.csv``, relative to the root.
    """

    def __init__(
        self, folder: RawFolder, path: Path, split: str, at: Path
    ) -> None:
        self.folder = folder
        self.table = folder.open_table(path)
        self.split = split
        self._at = at.as_posix()
        self._bases: dict[tuple[str, str], str | None] = {}

    def read(self) -> Iterator[RawImage]:
        """Yield the images."""
        known = ('Sex', 'Age', 'Frontal/Lateral', 'AP/PA')
        columns = [name for name in known if name in self.table]
        by_study = 'Path' not in self.table and 'Study' in self.table
        absent = 0
        for where, (name, *cells) in self.table.rows(
            'Study' if by_study else 'Path', *CLASSES, *columns
        ):
            match = _PLACE.fullmatch(f'{name}/' if by_study else name)
            if match is None:
                raise UserError(
                    f'{where}: the path "{name}" names no patient, such as '
                    "train/patient00001; is the table CheXpert's?"
                )
            base = self._base(match[1], match[2])
            if not by_study:
                there = base if base is not None else match[1] or self._at
                names = [_join(there, match[2], match[3])]
            elif base is None:
                absent += 1
                continue
            else:
                names = self._images(_join(base, match[2], match[3]))
            further = dict(zip(columns, cells[len(CLASSES) :]))
            for each in names:
                yield RawImage(
                    each,
                    self.folder.root / each,
                    match[4],
                    self.split,
                    labels=parse_labels(CLASSES, cells, where),
                    metadata=dict(
                        sex=parse_sex(further.get('Sex', '')),
                        age=parse_age(further.get('Age', '')),
                        view=further.get('AP/PA')
                        or further.get('Frontal/Lateral')
                        or _view(each),
                    ),
                )
        self.folder.skipped.add(
            absent,
            f'studies of {Path(self.table.path).name}, since there is no '
            'folder of their images, such as CheXpert-v1.0/test/',
        )

    def _base(self, written: str, part: str) -> str | None:
        """Find the folder with the images of a part of the dataset.

        Tables name other folders than copies of the dataset have; Kaggle's
        has none around ``train``.

        Args:
            written (str): The folder that the table names.
            part (str): ``train``, ``valid``, ``val`` or ``test``.

        Returns:
            str, optional: Relative to the root, None if there is none.
        """
        if (written, part) not in self._bases:
            root = self.folder.root
            bases = (written, self._at, *FOLDERS)
            there = (each for each in bases if (root / each / part).is_dir())
            self._bases[written, part] = next(there, None)
        return self._bases[written, part]

    def _images(self, study: str) -> list[str]:
        """List the images of a study; if none is there, the first it has."""
        found = self.folder.find_images(study, '.jpg', '.png')
        paths = found.values() or [self.folder.root / study / FIRST_VIEW]
        root = self.folder.root
        return [path.relative_to(root).as_posix() for path in paths]


def _join(base: str, part: str, below: str) -> str:
    return posixpath.normpath(f'{base or "."}/{part}/{below}')


def _view(name: str) -> str | None:
    """Return the view that an image's name tells."""
    stem = name.rpartition('.')[0]
    views = ('Frontal', 'Lateral')
    return next((v for v in views if stem.endswith(v.lower())), None)
