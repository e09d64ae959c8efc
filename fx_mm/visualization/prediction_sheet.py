"""A sheet of predictions beside the truth."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from fx_mm.image_io.xray import read_xray
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.visualization.contact_sheet import make_grid
from fx_mm.visualization.results import SCORE_THR, result_class
from fx_mm.visualization.tiles import save_picture

TILE = 256
"""Width of each half in pixels."""


def draw_prediction_sheet(
    samples: Sequence[FXDataSample],
    tasks: Iterable[Task],
    out_file: str | Path,
    score_thr: float = SCORE_THR,
    columns: int = 2,
    title: str = '',
) -> Path:
    """Write a sheet of predictions beside the truth.

    Args:
        samples (Sequence[FXDataSample]): Outputs of the model's ``predict``
            with the truth, of any tasks.
        tasks (Iterable[Task]): The tasks of the samples.
        out_file (str | Path): The picture, e.g. ``predictions.png``.
        score_thr (float): Boxes below this score are not drawn.
            Defaults to 0.3.
        columns (int): Samples per row. Defaults to 2.
        title (str): Text above the sheet. Defaults to none.

    Returns:
        Path: ``out_file``.

    Raises:
        ValueError: Without samples.
        ImageReadError: If an image cannot be read.
    """
    known = {task.name: task for task in tasks}
    tiles = []
    for sample in samples:
        task = known[sample.task]
        image = read_xray(sample.img_path)
        drawn = result_class(task).draw_beside_truth(
            task, sample, image, score_thr, TILE
        )
        tiles.append(drawn)
    return save_picture(make_grid(tiles, columns, title), out_file)
