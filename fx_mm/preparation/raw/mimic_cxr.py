"""MIMIC-CXR-JPG: labels of studies, splits of images."""

from collections.abc import Iterator
from pathlib import Path

from fx_mm.preparation.cell_values import parse_labels
from fx_mm.preparation.raw import chexpert
from fx_mm.preparation.raw_dataset import RawImage, raw_dataset
from fx_mm.preparation.raw_folder import RawFolder
from fx_mm.utils.errors import UserError

CLASSES = tuple(sorted(chexpert.CLASSES))
"""CheXpert's, in the alphabetical order of the tables."""
SPLITS = dict(train='train', validate='val', test='test')


@raw_dataset(
    'mimic_cxr',
    classes=CLASSES,
    holds='files/, mimic-cxr-2.0.0-split.csv and mimic-cxr-2.0.0-chexpert.csv '
    '(or .csv.gz)',
    official_counts=dict(val=2991, test=5159),
)
def read_mimic_cxr(folder: RawFolder) -> Iterator[RawImage]:
    """Join the tables of labels, splits and, if it is there, views."""
    study_table, split_table = (
        folder.open_table(folder.find(f'mimic-cxr-2.*-{name}.csv'))
        for name in ('chexpert', 'split')
    )
    labels = {
        study: parse_labels(CLASSES, cells, where)
        for where, (study, *cells) in study_table.rows('study_id', *CLASSES)
    }
    metadata = folder.find_optional('mimic-cxr-2.*-metadata.csv')
    views = {}
    if metadata is not None:
        table = folder.open_table(metadata)
        views = {
            image: view or None
            for _, (image, view) in table.rows('dicom_id', 'ViewPosition')
        }
    unlabelled = 0
    for where, (image, study, subject, split) in split_table.rows(
        'dicom_id', 'study_id', 'subject_id', 'split'
    ):
        if split not in SPLITS:
            raise UserError(
                f'{where}: split "{split}" is none of {", ".join(SPLITS)}; '
                'is the file whole?'
            )
        if study not in labels:
            unlabelled += 1
            continue
        name = f'files/p{subject[:2]}/p{subject}/s{study}/{image}.jpg'
        yield RawImage(
            name,
            folder.root / name,
            subject,
            SPLITS[split],
            labels=labels[study],
            metadata=dict(view=views.get(image)),
        )
    folder.skipped.add(
        unlabelled,
        f'images of studies without a row in {Path(study_table.path).name}',
    )
