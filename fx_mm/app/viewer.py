"""HTML of an image with its boxes and masks as layers, and of tables.

All pictures are in the HTML itself: nothing is written on the server, and a
slider moves without asking it.
"""

import base64
import html
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from fx_mm.app.answers import Figure
from fx_mm.visualization.contact_sheet import color_of
from fx_mm.visualization.results import ImageResult, LocResult, SegResult
from fx_mm.visualization.tiles import to_png

SIZE = 1024
"""Longer side of a shown image in pixels."""
CSS = """
.fx-stack {position: relative; width: 100%; background: #000;}
.fx-stack img, .fx-stack svg {width: 100%; display: block;}
.fx-stack .fx-layer {position: absolute; inset: 0; height: 100%;}
.fx-mask {opacity: var(--fx-mask, 0.4);}
.fx-legend label {margin-right: 1em; white-space: nowrap;}
.fx-swatch {display: inline-block; width: 0.8em; height: 0.8em;}
.fx-table td, .fx-table th {padding: 0.1em 0.8em 0.1em 0;
  text-align: left;}
.fx-bar {display: inline-block; height: 0.7em; background: #d98200;}
.fx-notice {font-weight: bold;}
.fx-pictures img {max-width: 100%;}
"""
SLIDER = "this.closest('.fx-view').style.setProperty('--fx-mask', this.value)"
SWITCH = (
    "this.closest('.fx-view').querySelectorAll('[data-layer=\"{0}\"]')"
    ".forEach(e => e.style.display = this.checked ? '' : 'none')"
)


def view(result: ImageResult, score_thr: float) -> str:
    """Return an image with a switch per layer and a slider of the masks.

    Args:
        result (ImageResult): With its pixels.
        score_thr (float): Boxes with a lower score are left out.
    """
    if result.image is None:
        raise ValueError('the result has no pixels')
    layers: list[str] = []
    legend: list[str] = []
    for task, found in result.predictions.items():
        for index, name in enumerate(found.classes):
            key = f'{len(legend)}'
            color = color_of(name, found.classes)
            if isinstance(found, SegResult):
                mask = found.masks[index]
                if mask.any():
                    layers.append(_mask(mask, color, key))
                    legend.append(_switch(f'{task}: {name}', color, key))
            elif isinstance(found, LocResult):
                kept = (found.labels == index) & (found.scores >= score_thr)
                if kept.any():
                    drawn = _boxes(
                        found.boxes[kept],
                        found.scores[kept],
                        *(name, color, key, result.size),
                    )
                    layers.append(drawn)
                    legend.append(_switch(f'{task}: {name}', color, key))
    base = picture(to_png(_shrink(result.image)), result.name)
    height, width = result.size
    form = (result.reading or {}).get('format', '')
    title = html.escape(f'{result.name}: {form}, {width} x {height} pixels')
    slider = (
        '<label>masks <input type="range" class="fx-opacity" min="0" max="1" '
        f'step="0.05" value="0.4" oninput="{SLIDER}"></label>'
    )
    return (
        f'<div class="fx-view"><p>{title}</p><div class="fx-stack">{base}'
        f'{"".join(layers)}</div><div class="fx-legend">{slider}'
        f'{"".join(legend)}</div></div>'
    )


def picture(png: bytes, title: str, css: str = '', layer: str = '') -> str:
    """Return an ``img`` that holds its PNG."""
    data = base64.b64encode(png).decode()
    more = f' class="{css}" data-layer="{layer}"' if css else ''
    return (
        f'<img{more} alt="{html.escape(title)}" '
        f'src="data:image/png;base64,{data}">'
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells are HTML."""
    head = ''.join(f'<th>{html.escape(each)}</th>' for each in header)
    body = ''.join(
        f'<tr>{"".join(f"<td>{cell}</td>" for cell in row)}</tr>'
        for row in rows
    )
    return f'<table class="fx-table"><tr>{head}</tr>{body}</table>'


def bar(value: float | None) -> str:
    """Return a bar of a probability and its number."""
    if value is None:
        return 'undefined'
    return (
        f'<span class="fx-bar" style="width:{6 * value:.2f}em"></span> '
        f'{value:.3f}'
    )


def figure_text(figure: Figure | None) -> str:
    """Return a figure in words: ``AUC 0.91 (0.88 to 0.94), test``."""
    if figure is None or figure['value'] is None:
        return 'not measured'
    ends = ''
    if figure['low'] is not None and figure['high'] is not None:
        ends = f' ({figure["low"]:.3f} to {figure["high"]:.3f})'
    metric = figure['name'].partition('/')[0]
    text = f'{metric} {figure["value"]:.3f}{ends}, {figure["split"]}'
    return html.escape(text)


def _shrink(image: np.ndarray, nearest: bool = False) -> np.ndarray:
    height, width = image.shape[:2]
    scale = SIZE / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    how = cv2.INTER_NEAREST if nearest else cv2.INTER_AREA
    return cv2.resize(image, size, interpolation=how)


def _mask(mask: np.ndarray, color: tuple[int, int, int], key: str) -> str:
    small = _shrink(mask.astype(np.uint8), nearest=True)
    pixels = np.zeros((*small.shape, 4), np.uint8)
    pixels[small > 0] = (*color, 255)
    return picture(to_png(pixels), 'mask', 'fx-layer fx-mask', key)


def _boxes(
    boxes: np.ndarray,
    scores: np.ndarray,
    name: str,
    color: tuple[int, int, int],
    key: str,
    size: tuple[int, int],
) -> str:
    height, width = size
    font = max(height, width) / 40
    shapes = []
    for (x1, y1, x2, y2), score in zip(boxes.tolist(), scores.tolist()):
        shapes.append(
            f'<rect x="{x1:.2f}" y="{y1:.2f}" width="{x2 - x1:.2f}" '
            f'height="{y2 - y1:.2f}" fill="none" stroke="rgb{color}" '
            f'stroke-width="{font / 8:.2f}"/>'
            f'<text x="{x1:.2f}" y="{max(font, y1 - font / 4):.2f}" '
            f'font-size="{font:.2f}" fill="rgb{color}">'
            f'{html.escape(name)} {score:.2f}</text>'
        )
    return (
        f'<svg class="fx-layer" data-layer="{key}" '
        f'viewBox="0 0 {width} {height}" preserveAspectRatio="none">'
        f'{"".join(shapes)}</svg>'
    )


def _switch(title: str, color: tuple[int, int, int], key: str) -> str:
    script = html.escape(SWITCH.format(key))
    return (
        f'<label><input type="checkbox" checked onchange="{script}"> '
        f'<span class="fx-swatch" style="background:rgb{color}"></span> '
        f'{html.escape(title)}</label> '
    )
