"""Pictures of a run in TensorBoard and the like."""

from pathlib import Path
from typing import TYPE_CHECKING

import mmcv

if TYPE_CHECKING:
    from fx_mm.engine.runner import MultiTaskRunner


def record_picture(
    runner: 'MultiTaskRunner', name: str, path: str | Path
) -> None:
    """Hand a picture to the visualizer, whose backends keep it by iteration.

    Args:
        runner (MultiTaskRunner): The run.
        name (str): Its name there, without a slash: mmengine's local backend
            makes a file of it.
        path (str | Path): The picture.
    """
    picture = mmcv.imread(str(path), channel_order='rgb')
    runner.visualizer.add_image(name, picture, runner.iter)
