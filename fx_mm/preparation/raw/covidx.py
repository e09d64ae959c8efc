"""COVIDx with three classes: lines of patient, file, label, source."""

from collections.abc import Iterator

from fx_mm.preparation.raw_dataset import RawImage, raw_dataset
from fx_mm.preparation.raw_folder import RawFolder
from fx_mm.utils.errors import UserError

CLASSES = ('normal', 'pneumonia', 'COVID-19')


@raw_dataset(
    'covidx',
    classes=CLASSES,
    holds='train.txt, test.txt, train/ and test/',
    val_ratio=0.1,
)
def read_covidx(folder: RawFolder) -> Iterator[RawImage]:
    """Read the lists; how many images they have differs between versions."""
    for split in ('train', 'val', 'test'):
        names = f'{split}.txt', f'{split}_COVIDx*.txt'
        path = folder.find_optional(*names)
        if path is None:
            if split == 'val':
                continue
            path = folder.find(names[0])
        for where, line in folder.read_lines(path):
            patient, name, label, source = _split_line(line, where)
            yield RawImage(
                f'{split}/{name}',
                folder.root / split / name,
                patient,
                split,
                labels={c: int(c == label) for c in CLASSES},
                metadata=dict(source=source),
            )


def _split_line(line: str, where: str) -> tuple[str, str, str, str | None]:
    """Return patient, file, label and source of a line.

    Names of files may hold blanks, sources may be missing.
    """
    words = line.split()
    for count in (1, 0):  # words behind the label
        label = words[-1 - count] if len(words) > count + 2 else ''
        if label in CLASSES:
            name = line.split(None, 1)[1]
            name = name.rsplit(None, count + 1)[0]
            return words[0], name, label, words[-1] if count else None
    raise UserError(
        f'{where}: "{line[:80]}" is no line "patient file label source" with '
        f'a label of {", ".join(CLASSES)}; take a version of COVIDx with '
        'three classes.'
    )
