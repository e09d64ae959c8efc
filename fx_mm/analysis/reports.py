"""What the tools of this package write."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fx_mm.utils.files import write_whole

LABEL = 'label:'


def write_json(file: str | Path, content: dict[str, Any]) -> Path:
    """Write JSON; it must hold no NaN."""
    text = json.dumps(content, indent=1, allow_nan=False) + '\n'
    return write_whole(file, text)


def write_study(
    work_dir: Path,
    name: str,
    content: dict[str, Any],
    plot: Callable[[dict[str, Any], Path], Path],
    to_markdown: Callable[[dict[str, Any], str], str],
) -> None:
    """Write what a study found as JSON, picture and Markdown; print the last.

    Args:
        work_dir (Path): Folder of the study.
        name (str): Of the files, without an ending.
        content (dict): What it found; it must hold no NaN.
        plot (Callable): Draws it into a file and returns the file.
        to_markdown (Callable): Writes it, given the picture's file name.
    """
    write_json(work_dir / f'{name}.json', content)
    picture = plot(content, work_dir / f'{name}.png')
    text = to_markdown(content, picture.name)
    write_whole(work_dir / f'{name}.md', text)
    print(text)
    print(f'{work_dir}: {name}.md, {name}.json, {picture.name}')


def write_scores(
    file: str | Path,
    names: Sequence[str],
    scores: dict[str, Sequence[float]],
    labels: dict[str, Sequence[float]],
) -> Path:
    """Write scores by image, as ``subgroups.py`` reads them.

    Args:
        file (str | Path): A CSV file.
        names (Sequence[str]): Of the images in their annotation file.
        scores (dict): Class to scores, NaN where there is none.
        labels (dict): Class to labels, NaN where unknown; their columns are
            called ``label:CLASS``.
    """
    columns = scores | {f'{LABEL}{name}': v for name, v in labels.items()}
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    writer.writerow(['image', *columns])
    for name, *values in zip(names, *columns.values()):
        writer.writerow(
            [name, *('' if x != x else f'{x:.6g}' for x in values)]
        )
    return write_whole(file, stream.getvalue())
