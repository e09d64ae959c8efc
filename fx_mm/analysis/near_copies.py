"""How many changed copies of images an audit finds, and what it costs."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from fx_mm.audit.duplicates import Pair, find_pairs
from fx_mm.audit.scan import scan_images
from fx_mm.image_io.xray import read_xray
from fx_mm.visualization.tiles import save_picture

Change = Callable[[np.ndarray], np.ndarray]


def _jpeg(image: np.ndarray) -> np.ndarray:
    quality = [cv2.IMWRITE_JPEG_QUALITY, 20]
    coarse = cv2.imdecode(cv2.imencode('.jpg', image, quality)[1], 0)
    # cv2 returns none where the bytes are not its own
    return cast(np.ndarray, coarse)


def _windowed(image: np.ndarray) -> np.ndarray:
    low, high = np.percentile(image, [10, 90])
    scaled = (image - low) * (255 / max(high - low, 1))
    return np.clip(scaled, 0, 255).astype(np.uint8)


def _noisy(image: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 8, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _equalised(image: np.ndarray, limit: float) -> np.ndarray:
    return cv2.createCLAHE(limit, (8, 8)).apply(image)


def _cropped(image: np.ndarray) -> np.ndarray:
    height, width = image.shape
    down, across = round(0.05 * height), round(0.05 * width)
    return image[down : height - down, across : width - across]


def _warped(image: np.ndarray, warp: np.ndarray) -> np.ndarray:
    return cv2.warpAffine(image, warp, image.shape[::-1])


def _shifted(image: np.ndarray) -> np.ndarray:
    height, width = image.shape
    warp = np.array([[1, 0, 0.05 * width], [0, 1, 0.05 * height]], np.float32)
    return _warped(image, warp)


def _rotated(image: np.ndarray) -> np.ndarray:
    height, width = image.shape
    return _warped(
        image, cv2.getRotationMatrix2D((width / 2, height / 2), 5, 1)
    )


def _padded(image: np.ndarray) -> np.ndarray:
    height, width = image.shape
    down, across = round(0.08 * height), round(0.08 * width)
    return np.pad(image, ((down, down), (across, across)))


def _letterboxed(image: np.ndarray) -> np.ndarray:
    height, width = image.shape
    if height > width:
        return _letterboxed(image.T).T
    side = round(width * 4 / 3) - height
    return np.pad(image, ((side // 2, side - side // 2), (0, 0)))


def _written_on(image: np.ndarray) -> np.ndarray:
    image = image.copy()
    height, width = image.shape
    scale = width / 512
    for row, text in enumerate(('DOE^JANE  F 054Y', '2014-03-11 PA ERECT')):
        place = (round(0.04 * width), round((0.08 + 0.07 * row) * height))
        cv2.putText(
            image,
            text,
            place,
            cv2.FONT_HERSHEY_SIMPLEX,
            scale,
            255,
            max(1, round(2 * scale)),
        )
    return image


def _covered(image: np.ndarray) -> np.ndarray:
    image = image.copy()
    height, width = image.shape
    image[: height // 4, width - width // 4 :] = 0
    return image


CHANGES: dict[str, Change] = {
    'half the size': lambda i: cv2.resize(
        i, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA
    ),
    'JPEG of quality 20': _jpeg,
    'darker (gamma 1.6)': lambda i: (255 * (i / 255) ** 1.6).astype(np.uint8),
    'windowed at 10 and 90 %': _windowed,
    'inverted': lambda i: 255 - i,
    'noise (sigma 8)': _noisy,
    'CLAHE, limit 2': lambda i: _equalised(i, 2),
    'CLAHE, limit 4': lambda i: _equalised(i, 4),
    'cropped by 5 % a side': _cropped,
    'shifted by 5 %': _shifted,
    'rotated by 5 degrees': _rotated,
    'padded by 8 % a side': _padded,
    'letterbox 4:3': _letterboxed,
    'text burnt in': _written_on,
    'box over a corner': _covered,
    'mirrored': lambda i: i[:, ::-1],
    'upside down': lambda i: np.rot90(i, 2),
    'turned left': np.rot90,
    'turned right': lambda i: np.rot90(i, 3),
}
"""What may have become of a copy; takes and returns uint8 (H, W)."""


@dataclass
class CopyStudy:
    """What was measured.

    Attributes:
        images (int): Images of the folder that could be read.
        copies (int): Copies that were made of each change.
        found (dict): Change to the number of its copies that were found.
        among (list[Pair]): Pairs among the images themselves.
        wrong (list[Pair]): Pairs of a copy with another image than its own.
        reading (float): Seconds for 1000 images, on all processes.
        comparing (float): Seconds for 1000 images, on all processes.
    """

    images: int
    copies: int
    found: dict[str, int] = field(default_factory=dict)
    among: list[Pair] = field(default_factory=list)
    wrong: list[Pair] = field(default_factory=list)
    reading: float = 0.0
    comparing: float = 0.0


def study_copies(
    paths: Sequence[str], copies: int = 20, workers: int | None = None
) -> CopyStudy:
    """Change copies of images in each way and let the audit look for them.

    Args:
        paths (Sequence[str]): Image files.
        copies (int): How many of them are copied, spread over the list.
            Defaults to 20.
        workers (int, optional): Number of processes. Defaults to the number
            of available cores.

    Returns:
        CopyStudy: What was found.
    """
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        start = time.perf_counter()
        scan = scan_images(paths, home, workers)
        middle = time.perf_counter()
        among = find_pairs(scan, workers=workers)
        end = time.perf_counter()
        known = [{pair.first, pair.second} for pair in among]
        good = [
            path for path, row in zip(paths, scan.rows) if not row['error']
        ]
        chosen = good[:: max(1, len(good) // max(1, copies))][:copies]
        per_thousand = 1000 / max(1, len(paths))
        study = CopyStudy(
            len(good),
            len(chosen),
            among=among,
            reading=(middle - start) * per_thousand,
            comparing=(end - middle) * per_thousand,
        )
        for number, (name, change) in enumerate(CHANGES.items()):
            made = {}
            for index, path in enumerate(chosen):
                copy = home / f'{number}' / f'{index}.png'
                picture = np.ascontiguousarray(change(read_xray(path)))
                made[str(save_picture(picture, copy))] = path
            with_copies = scan_images([*paths, *made], home, workers)
            found = set()
            for pair in find_pairs(with_copies, workers=workers, of=made):
                # copies come after the images; equal ones are no news
                if pair.second not in made:
                    continue
                sources = {made.get(pair.first, pair.first), made[pair.second]}
                if len(sources) == 1:
                    found |= sources
                elif sources not in known:
                    study.wrong.append(pair)
            study.found[name] = len(found)
    return study
