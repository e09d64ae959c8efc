"""Published results of the datasets that have a config here.

Copied from the figures of the papers' repositories; percent, as printed. A
printed gain that does not equal the difference of its two figures is in
``NOTES``; the figures themselves are taken as they stand.
"""

from collections.abc import Mapping
from typing import NamedTuple

from fx_mm.evaluation.report.benchmark_table import BenchmarkTable
from fx_mm.tasks import all_kinds, find_kind, split_name, task_of

SOURCES = {
    'single task': 'Foundation X (WACV 2025), pretraining figure: one Swin-B '
    '(with DINO, UPerNet) per task',
    'Foundation X': 'Foundation X (WACV 2025), pretraining figure',
    'Foundation X+': 'Foundation X+, figure PretrainingResult_FX+ of the '
    'repository',
    'Foundation X, fine-tuned': 'Foundation X (WACV 2025), fine-tuning '
    'figures',
    'Ark-5, fine-tuned': 'Ark (MICCAI 2023), poster; mean over runs',
    'Ark-6, fine-tuned': 'Ark (MICCAI 2023), poster; mean over runs',
}
NOTES = {
    'tbx11k/loc': 'the figure of Foundation X prints a gain of +6.72, its '
    'values differ by 3.72',
    'candid_ptx/cls': 'the figure of Foundation X prints a gain of +7.25, '
    'its values differ by 1.25',
    'candid_ptx/loc': 'published on the validation images',
    'rsna/loc': 'published on the validation images',
    'siim_acr/loc': 'published on the validation images',
    'chestx_det/cls': "the authors' code takes the AUC of the first class "
    'alone',
}
_PRETRAINED = {
    'chexpert/cls': (90.03, 90.64, 90.91),
    'nih14/cls': (83.05, 83.35, 83.35),
    'vindr_cxr/cls': (95.07, 95.85, 96.00),
    'shenzhen/cls': (98.99, 99.64, 99.35),
    'mimic_cxr/cls': (79.12, 78.94, 79.19),
    'tbx11k/cls': (99.89, 99.95, 99.92),
    'node21/cls': (99.35, 99.68, 99.51),
    'candid_ptx/cls': (72.61, 73.86, 76.08),
    'rsna/cls': (88.87, 89.88, 89.96),
    'chestx_det/cls': (88.17, 89.89, 89.83),
    'siim_acr/cls': (95.01, 96.44, 95.95),
    'tbx11k/loc': (78.08, 81.80, 81.54),
    'node21/loc': (37.78, 46.57, 56.80),
    'candid_ptx/loc': (50.51, 54.14, 57.76),
    'rsna/loc': (20.83, 27.44, 27.48),
    'chestx_det/loc': (38.12, 43.98, 43.68),
    'siim_acr/loc': (28.56, 34.59, 37.27),
    'candid_ptx/seg': (86.36, 89.81, 89.93),
    'chestx_det/seg': (79.33, 79.17, 84.43),
    'siim_acr/seg': (81.92, 83.65, 84.21),
}
_ARK = {
    'chexpert/cls': (88.73, 89.14),
    'nih14/cls': (82.87, 83.05),
    'vindr_cxr/cls': (94.67, 95.07),
    'shenzhen/cls': (98.92, 98.99),
    'rsna/cls/accuracy': (74.73, 74.76),
    'montgomery/seg': (97.65, 97.68),
    'jsrt/seg/Lung': (97.41, 97.48),
    'jsrt/seg/Heart': (94.16, 94.62),
    'jsrt/seg/Clavicle': (90.01, 90.05),
    'vindr_ribcxr/seg': (63.96, 63.70),
}
_FINE_TUNED = {
    'montgomery/seg': 98.29,
    'jsrt/seg/Lung': 98.04,
    'jsrt/seg/Heart': 95.42,
    'jsrt/seg/Clavicle': 91.17,
    'vindr_ribcxr/seg': 71.12,
    'vindr_organs/loc/Heart': 88.41,
    'vindr_organs/loc/Left lung': 95.58,
    'vindr_organs/loc/Right lung': 96.78,
    'vindr_organs/seg/Heart': 96.15,
    'vindr_organs/seg/Left lung': 97.57,
    'vindr_organs/seg/Right lung': 98.13,
}


class Published(NamedTuple):
    """What was published for a task, or for one of its classes.

    Attributes:
        task (str): ``dataset/kind``.
        label (str): Class, or '' for the task's mean.
        metric (str): Key of our metric, such as ``AUC`` or ``AP_40/Heart``.
        values (dict[str, float]): Model, one of :data:`SOURCES`, to percent.
    """

    task: str
    label: str
    metric: str
    values: Mapping[str, float]


def _rows() -> list[Published]:
    columns = list(SOURCES)
    found: dict[str, dict[str, float]] = {}
    for key, pretrained in _PRETRAINED.items():
        found[key] = dict(zip(columns, pretrained))
    for key, tuned in _FINE_TUNED.items():
        found.setdefault(key, {})[columns[3]] = tuned
    for key, ark in _ARK.items():
        found.setdefault(key, {}).update(zip(columns[4:], ark, strict=True))
    rows = []
    for key, values in found.items():
        task, name = task_of(key), key.removeprefix(task_of(key)).strip('/')
        kind = find_kind(split_name(task)[1])
        metric = kind.published
        if name == 'accuracy':
            metric, name = name, ''
        elif name:
            metric = f'{kind.class_published or metric}/{name}'
        rows.append(Published(task, name, metric, values))
    return rows


PUBLISHED = _rows()


def beside(
    table: BenchmarkTable,
) -> list[tuple[str, list[str], list[list[str]]]]:
    """Lay our values out beside the published ones, in percent.

    Args:
        table (BenchmarkTable): Ours, in fractions.

    Returns:
        list[tuple]: Task kind, column titles and rows of cells; only for
        the tasks that were evaluated and have published values.
    """
    evaluated = {task.name for task in table.tasks}
    blocks = []
    for kind in all_kinds():
        rows = [
            row
            for row in PUBLISHED
            if row.task in evaluated and row.task.endswith(f'/{kind.name}')
        ]
        models = [m for m in SOURCES if any(m in row.values for row in rows)]
        header = ['task', 'metric']
        header += [f'ours, {predict_on}' for predict_on in table.predict_on]
        cells = []
        for row in rows:
            ours = [
                table.value(predict_on, row.task, row.metric)
                for predict_on in table.predict_on
            ]
            theirs = [row.values.get(model) for model in models]
            cells.append(
                [
                    row.task,
                    row.metric,
                    *('n/a' if v != v else f'{100 * v:.2f}' for v in ours),
                    *('-' if v is None else f'{v:.2f}' for v in theirs),
                ]
            )
        if rows:
            blocks.append((kind.name, [*header, *models], cells))
    return blocks


def notes(table: BenchmarkTable) -> list[str]:
    """Return what the published values of the evaluated tasks depend on."""
    shown = [row for _, _, rows in beside(table) for row in rows]
    tasks = dict.fromkeys(row[0] for row in shown)
    return [f'{task}: {NOTES[task]}.' for task in tasks if task in NOTES]
