"""The card of a published model, made from its run."""

from typing import Any

import yaml

from fx_mm.config import PlainConfig
from fx_mm.tasks import TaskTable
from fx_mm.utils.errors import UserError
from fx_mm.utils.predictors import PREDICTORS
from fx_mm.utils.text_table import markdown_table

USE = """\
Research on chest X-rays: pretraining, fine-tuning, comparison. The input is a
frontal chest X-ray (PNG, JPEG, TIFF, DICOM, MHA); lateral views, other body
parts and photographs of films are outside of what it was trained for, unless
the data below say otherwise. It is no medical device: no patient's care may
depend on it."""
LIMITS = (
    'Scores are of the evaluated data; other hospitals, scanners and patients '
    'give others. Evaluate it on your own data first, by group of patients '
    'too.',
    'A head knows the classes of its own dataset alone. What is in no class '
    'is not found, and the absence of findings is no statement on health.',
    'Labels of public datasets are partly read from reports by programs, and '
    'partly wrong.',
)
PATENT = (
    'The methods of Foundation X and Ark are under the patent application US '
    '2026/0066123 A1 (see NOTICE of fx_mm).'
)
CITATION = """\
@inproceedings{islam2025foundationx,
  title = {Foundation X: Integrating Classification, Localization, and
           Segmentation through Lock-Release Pretraining Strategy for Chest
           X-ray Analysis},
  author = {Islam, Nahid Ul and Ma, DongAo and Pang, Jiaxuan and Velan,
            Shivasakthi Senthil and Gotway, Michael and Liang, Jianming},
  booktitle = {WACV},
  year = {2025},
}
@inproceedings{ma2023ark,
  title = {Foundation Ark: Accruing and Reusing Knowledge for Superior and
           Robust Performance},
  author = {Ma, DongAo and Pang, Jiaxuan and Gotway, Michael B. and Liang,
            Jianming},
  booktitle = {MICCAI},
  year = {2023},
}"""


def check_results(
    results: dict[str, Any], file: str, checkpoint: str, predict_on: str
) -> None:
    """Refuse results that are of another model.

    Args:
        results (dict): Content of a results.json.
        file (str): Its path, for the message.
        checkpoint (str): Name of the checkpoint that is published.
        predict_on (str): Whose weights predict in it.

    Raises:
        UserError: If they are of another checkpoint, or not of this model.
    """
    if results['checkpoint'] != checkpoint:
        raise UserError(
            f'{file} is of {results["checkpoint"] or "no checkpoint"}, and '
            f'not of {checkpoint}; run tools/test.py on it, or publish '
            'without --results.'
        )
    if predict_on not in results['metrics']:
        raise UserError(
            f'{file} has no results of the {predict_on}, who predicts in '
            f'{checkpoint}; run tools/test.py --predict-on {predict_on}.'
        )


def model_card(
    name: str,
    meta: dict[str, Any],
    config: PlainConfig,
    predict_on: str,
    results: dict[str, Any] | None = None,
    licence: str | None = None,
) -> str:
    """Write the card: Markdown with a head that hubs read.

    Args:
        name (str): How :meth:`.FoundationXInferencer.from_pretrained` finds
            it: ``owner/name`` or a folder.
        meta (dict): Of the published checkpoint.
        config (PlainConfig): Its config.
        predict_on (str): Whose weights predict.
        results (dict, optional): Of a results.json. Defaults to None.
        licence (str, optional): An SPDX identifier. Defaults to None.
    """
    table = config.task_table
    phantom = bool(config.get('phantom'))
    kinds = dict.fromkeys(task.kind.name for task in table)
    head = dict(
        license=licence.lower() if licence else 'unknown',
        library_name='fx_mm',
        tags=['fx_mm', 'chest-x-ray', 'radiology', 'medical', *kinds],
    )
    title = name.rstrip('/').rpartition('/')[2]
    limits = list(LIMITS)
    if phantom:
        limits.insert(
            0,
            'It was trained on drawn phantoms and on no patient: on real '
            'X-rays its answers mean nothing.',
        )
    backbone = config.model['student']['backbone'].get('type', '')
    sections = {
        '': f'One model for {len(table)} tasks on chest X-rays, trained with '
        f'fx_mm {meta["fx_mm_version"]} (backbone {backbone}, '
        f'{meta.get("iter", "?")} iterations). Its weights are those of the '
        f'{_who(predict_on)}.\n\n{_usage(name)}',
        'Intended use': USE,
        'Data and tasks': _data(table, phantom),
        'Results': _results(table, predict_on, results),
        'Limits': '\n'.join(f'- {line}' for line in limits),
        'Licence': _licence(licence, meta),
        'Citation': f'```bibtex\n{CITATION}\n```',
    }
    text = '\n'.join(
        (f'## {section}\n\n' if section else '') + content + '\n'
        for section, content in sections.items()
    )
    front = yaml.safe_dump(head, sort_keys=False)
    return f'---\n{front}---\n\n# {title}\n\n{text}'


def _who(predict_on: str) -> str:
    teacher = predict_on == PREDICTORS[0]
    return (
        'teacher, the moving average of the trained model'
        if teacher
        else 'student, the trained model itself'
    )


def _usage(name: str) -> str:
    return (
        '```python\nfrom fx_mm.apis import FoundationXInferencer\n\n'
        f"infer = FoundationXInferencer.from_pretrained('{name}')\n"
        "result, = infer('chest.dcm')\n```"
    )


def _data(table: TaskTable, phantom: bool) -> str:
    rows = [
        [task.name, task.kind.annotation, ', '.join(task.classes)]
        for task in table
    ]
    text = markdown_table(['dataset/task', 'annotation', 'classes'], rows)
    source = (
        'The images are phantoms, drawn by fx_mm.'
        if phantom
        else 'Each dataset has an owner and terms, which hold for what is '
        'made of it; docs/datasets.md of fx_mm names those of the public '
        'ones.'
    )
    return f'{source}\n\n{text}'


def _results(
    table: TaskTable, predict_on: str, results: dict[str, Any] | None
) -> str:
    if results is None:
        return 'Not evaluated where this card was written.'
    metrics = results['metrics'][predict_on]
    intervals = (results.get('intervals') or {}).get(predict_on, {})
    rows = []
    for task in table:
        entry = results['tasks'].get(task.name, {})
        for column in task.kind.columns:
            value = metrics.get(task.name, {}).get(column.metric)
            ends = intervals.get(task.name, {}).get(column.metric)
            cell = 'n/a' if value is None else f'{value:.3f}'
            if ends and ends['low'] is not None:
                cell += f' [{ends["low"]:.3f}, {ends["high"]:.3f}]'
            images = entry.get('n_images', 'not evaluated')
            rows.append([task.name, column.metric, cell, images])
    made = results.get('bootstrap')
    how = (
        f'In brackets: {made["level"]:.0%} intervals, {made["method"]} '
        f'bootstrap of {made["resamples"]} resamples.'
        if made
        else 'Without intervals (tools/test.py --intervals gives them).'
    )
    parts = [
        f'Split `{results["split"]}`, fractions. {how}',
        markdown_table(['task', 'metric', 'value', 'images'], rows),
    ]
    notes = dict.fromkeys(
        note for of_task in results['notes'].values() for note in of_task
    )
    parts += ['\n'.join(f'- {note}' for note in notes)] if notes else []
    return '\n\n'.join(parts)


def _licence(licence: str | None, meta: dict[str, Any]) -> str:
    lines = [
        f'The weights: {licence}.'
        if licence
        else 'Whoever published these weights stated no licence: ask them '
        'before you use them.'
    ]
    imported = meta.get('imported')
    if imported:
        lines.append(
            f'They began with weights of another project '
            f'({imported.get("family", imported.get("file"))}), whose '
            'licence holds for them too; that of the authors of Foundation X '
            'and Ark is non-commercial.'
        )
    return '\n'.join([*lines, PATENT])
