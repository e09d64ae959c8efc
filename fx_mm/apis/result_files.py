"""The files that a prediction leaves: picture, JSON, masks."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fx_mm.apis.image_sources import ImageSource
from fx_mm.image_io.xray import IMAGE_SUFFIXES
from fx_mm.utils.files import write_whole
from fx_mm.visualization.results import ImageResult


def output_names(sources: Sequence[ImageSource]) -> list[Path]:
    """Return a name of its own for each image, without a suffix.

    It is the path in its folder without the suffix; images of one folder that
    differ in their suffix only keep it.

    Args:
        sources (Sequence[ImageSource]): The images.

    Returns:
        list[Path]: Relative paths, all different.
    """
    # DICOM files without a suffix are often named 1.2.840.10008.
    short = [
        source.place.with_suffix('')
        if source.place.suffix.lower() in IMAGE_SUFFIXES
        else source.place
        for source in sources
    ]
    shared = Counter(short)
    names: dict[Path, None] = {}
    for source, name in zip(sources, short, strict=True):
        name = name if shared[name] == 1 else source.place
        while name in names:
            name = name.with_name(f'{name.name}_')
        names[name] = None
    return list(names)


def save_result(
    result: ImageResult,
    stem: str | Path,
    score_thr: float,
    checkpoint: str,
    predict_on: str,
    picture: bool = True,
) -> None:
    """Write the masks, the picture and, last, the JSON of one image.

    Args:
        result (ImageResult): The predictions.
        stem (str | Path): Path of the files without their suffixes.
        score_thr (float): Boxes below it are left out.
        checkpoint (str): Path of the checkpoint; its name is noted.
        predict_on (str): Which model predicted.
        picture (bool): Whether to draw. Defaults to True.

    Raises:
        OSError: If they cannot be written.
    """
    files: dict[str, dict[str, str]] = {}
    folder = Path(f'{stem}_masks')
    for task, prediction in result.predictions.items():
        written = prediction.save_files(folder)
        files[task] = {k: f'{folder.name}/{v}' for k, v in written.items()}
    if picture:
        result.draw(f'{stem}.png', score_thr)
    content = dict(
        result.to_dict(score_thr, files),
        checkpoint=Path(checkpoint).name,
        predict_on=predict_on,
    )
    text = json.dumps(content, indent=2, allow_nan=False)
    write_whole(f'{stem}.json', text + '\n')
