"""Draw ``architecture.svg``: the layers, one batch, one prediction.

``python docs/images/architecture.py`` writes it beside this file.
"""

from html import escape
from pathlib import Path

LAYERS = (
    ('app', 'page, HTTP API, tools of agents', '#dfe6f3'),
    ('apis', 'what a user calls from Python', '#dfe6f3'),
    ('analysis', 'studies, checks of a GPU', '#dfe6f3'),
    ('federated', 'sites that share no image', '#dfe6f3'),
    ('converters  deployment  dicom_out', 'weights, ONNX, DICOM', '#dfe6f3'),
    ('engine', 'runner, loops, hooks, optimizers', '#f6d9c4'),
    ('audit', 'leaks between splits, odd data', '#ececec'),
    ('phantom', 'drawn patients, in every layout', '#ececec'),
    ('preparation', 'official layouts to tables and images', '#ececec'),
    ('models', 'branches, backbones, losses, teacher', '#d3e8d3'),
    ('visualization', 'pictures, curves, typed results', '#ececec'),
    ('evaluation', 'metrics, statistics, report', '#e6d8ee'),
    ('config', 'load, check, expand', '#f3edc9'),
    ('datasets', 'readers, samplers, transforms, cache', '#cfe5ec'),
    ('tasks', 'kinds, Task, TaskTable', '#f3edc9'),
    ('image_io  ops', 'image files, the attention kernel', '#ececec'),
    ('structures  registry  utils', 'samples, registries, files', '#ececec'),
)
"""Name, content, colour; a file imports only from layers below its own."""

BATCH = (
    ('configs/*.py', 'datasets, tasks', 'config'),
    ('MultiTaskRunner.from_cfg', 'expands the config', 'engine'),
    ('TaskTable', 'runner.tasks, built once', 'tasks'),
    ('CyclicBatchSampler', 'keys of one task', 'datasets'),
    ('TaskDataset', 'reads and transforms, in workers', 'datasets'),
    ('TaskDataPreprocessor', 'pads, normalises, to the device', 'models'),
    ('MeanTeacher.loss', 'student and teacher', 'models'),
    ('FoundationX', 'backbone, then one branch', 'models'),
    ('losses', 'task + consistency', 'models'),
    ('MultiTaskOptimWrapper', 'one step; then the hooks', 'engine'),
)
PREDICTION = (
    ('evaluation loader', 'or FoundationXInferencer', 'datasets'),
    ('TaskDataPreprocessor', 'the same', 'models'),
    ('MeanTeacher', 'predict_on: teacher or student', 'models'),
    ('FoundationX', 'backbone, then one branch', 'models'),
    ('Branch', 'probabilities, boxes, masks', 'models'),
    ('FXDataSample', 'at the size of the original', 'structures'),
    ('metric of the task', 'or a typed result, for users', 'evaluation'),
    ('candid_ptx/loc/mAP_40', 'a name for each result', 'evaluation'),
    ('table', 'datasets as rows, kinds as columns', 'evaluation'),
)

INK, FAINT = '#222', '#666'
HEIGHT = 46
COLOURS = {
    name: colour for names, _, colour in LAYERS for name in names.split()
}


def text(x, y, content, size=13, colour=INK, font='sans', anchor='start'):
    family = 'monospace' if font == 'mono' else 'Helvetica, Arial, sans-serif'
    weight = ' font-weight="bold"' if font == 'bold' else ''
    return (
        f'<text x="{x}" y="{y}" font-family="{family}" font-size="{size}" '
        f'fill="{colour}" text-anchor="{anchor}"{weight} '
        f'xml:space="preserve">{escape(content)}</text>'
    )


def box(x, y, width, height, colour):
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="5" '
        f'fill="{colour}" stroke="#999"/>'
    )


def arrow(x, y, length):
    tip = y + length
    return (
        f'<path d="M{x} {y}V{tip - 4}" stroke="{FAINT}" fill="none"/>'
        f'<path d="M{x - 4} {tip - 5}L{x} {tip}L{x + 4} {tip - 5}Z" '
        f'fill="{FAINT}"/>'
    )


def draw_layers(x, y, width):
    yield text(x, y - 14, 'Layers: imports point down', 16, font='bold')
    for name, content, colour in LAYERS:
        yield box(x, y, width, HEIGHT - 4, colour)
        yield text(x + 12, y + 18, name, 14, font='mono')
        yield text(x + 12, y + 35, content, 12, FAINT)
        y += HEIGHT


def draw_way(x, y, width, title, steps):
    yield text(x, y - 14, title, 16, font='bold')
    gap = 20
    for number, (name, content, layer) in enumerate(steps):
        if number:
            yield arrow(x + width / 2, y - gap, gap)
        yield box(x, y, width, HEIGHT - 4, COLOURS[layer])
        yield text(x + 12, y + 18, name, 14, font='mono')
        yield text(x + 12, y + 35, content, 12, FAINT)
        yield text(x + width - 10, y + 18, layer, 11, FAINT, anchor='end')
        y += HEIGHT - 4 + gap


def draw():
    """Return the picture as SVG."""
    top, bottom = 50, 50 + len(LAYERS) * HEIGHT + 10
    parts = [
        *draw_layers(20, top, 290),
        *draw_way(360, top, 330, 'One training batch', BATCH),
        *draw_way(740, top, 330, 'One prediction', PREDICTION),
    ]
    body = '\n'.join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1090 {bottom}" '
        f'width="1090" height="{bottom}">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


if __name__ == '__main__':
    Path(__file__).with_suffix('.svg').write_text(draw())
