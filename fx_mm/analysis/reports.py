"""What the tools of this package write."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fx_mm.utils.files import write_whole

LABEL = 'label:'


def write_json(file: str | Path, content: dict[str, Any]) -> Path:
    """Write JSON; it must hold no NaN."""
    text = json.dumps(content, indent=1, allow_nan=False) + '\n'
    return write_whole(file, text)


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
