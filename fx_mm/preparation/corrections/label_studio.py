"""Label Studio's JSON and labelling configuration."""

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from fx_mm.preparation.corrections.annotated import (
    AnnotatedImage,
    Box,
    Head,
    Heads,
    file_stem,
)
from fx_mm.preparation.corrections.brush_rle import decode_brush, encode_brush
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole
from fx_mm.utils.text_files import read_json

DATA = ('fx_mm_image', 'fx_mm_height', 'fx_mm_width')
"""Keys of a task's data with the image's name and size, which come back as
they were: an annotation where nothing was found says neither."""
TAGS = dict(
    labels=('Choices', 'Choice', 'choices'),
    boxes=('RectangleLabels', 'Label', 'rectanglelabels'),
    masks=('BrushLabels', 'Label', 'brushlabels'),
)
"""Form to the control, what it offers, and the type of its results."""
FORM_OF = {control: form for form, (control, _, _) in TAGS.items()}
HINT = "give Label Studio's export in the format JSON"


def write_label_studio(
    heads: Heads,
    images: Sequence[AnnotatedImage],
    folder: str | Path,
    url: str = '',
    model_version: str = 'fx_mm',
) -> list[Path]:
    """Write what a project of Label Studio is made of.

    Args:
        heads (Heads): The tasks.
        images (Sequence[AnnotatedImage]): Their images.
        folder (str | Path): Where to.
        url (str): Stands in front of an image's name, such as
            ``/data/local-files/?d=xrays/``. Defaults to ''.
        model_version (str): Whose predictions they are. Defaults to
            ``fx_mm``.

    Returns:
        list[Path]: ``tasks.json``, to be imported, and ``labels.xml``, the
        labelling configuration.
    """
    tasks = [
        dict(
            id=number,
            data={
                'image': url + image.name,
                **dict(zip(DATA, (image.name, image.height, image.width))),
            },
            predictions=[
                dict(
                    model_version=model_version,
                    result=[*_results(heads, image)],
                )
            ],
        )
        for number, image in enumerate(images, 1)
    ]
    return [
        write_whole(Path(folder, 'tasks.json'), json.dumps(tasks)),
        write_whole(Path(folder, 'labels.xml'), _config(heads)),
    ]


def _config(heads: Heads) -> str:
    view = ElementTree.Element('View')
    ElementTree.SubElement(
        view, 'Image', name='image', value='$image', zoom='true'
    )
    for task, head in heads.items():
        control, offer, _ = TAGS[head.form]
        ElementTree.SubElement(view, 'Header', value=task)
        element = ElementTree.SubElement(
            view, control, name=file_stem(task), toName='image'
        )
        if head.form == 'labels':
            choice = 'single' if head.exclusive else 'multiple'
            element.set('choice', choice)
        for name in head.classes:
            ElementTree.SubElement(element, offer, value=name)
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding='unicode') + '\n'


def _results(heads: Heads, image: AnnotatedImage) -> Iterator[dict[str, Any]]:
    """Yield the regions and choices of an image."""
    for task, head in heads.items():
        _, _, kind = TAGS[head.form]
        control = file_stem(task)
        common = dict(
            type=kind,
            from_name=control,
            to_name='image',
            original_width=image.width,
            original_height=image.height,
            image_rotation=0,
        )
        labels = image.labels.get(task)
        if labels:
            value: dict[str, Any] = {kind: list(labels)}
            yield dict(common, id=control, value=value)
        for number, box in enumerate(image.boxes.get(task, ())):
            x1, y1, x2, y2 = box.corners
            value = dict(
                x=100 * x1 / image.width,
                y=100 * y1 / image.height,
                width=100 * (x2 - x1) / image.width,
                height=100 * (y2 - y1) / image.height,
                rotation=0,
            )
            value[kind] = [box.label]
            region = f'{control}_{number}'
            yield dict(common, id=region, value=value, score=box.score)
        for label, read in image.masks.get(task, {}).items():
            value = dict(format='rle', rle=encode_brush(read()))
            value[kind] = [label]
            region = f'{control}_{head.classes.index(label)}'
            yield dict(common, id=region, value=value)


def read_label_studio(
    path: str | Path, config: str | Path
) -> tuple[Heads, list[AnnotatedImage], int]:
    """Read what people made of the tasks.

    Args:
        path (str | Path): Label Studio's export, in its format JSON.
        config (str | Path): The project's labelling configuration.

    Returns:
        tuple: The tasks by the name of their control; the images that were
        annotated, also those where nothing was found; and how many were not.

    Raises:
        UserError: If the export is none of this configuration, or an
            annotation cannot be read rightly: rotated, of another shape, or
            several of one image.
    """
    heads = _read_config(config)
    content = read_json(path, HINT)
    if not isinstance(content, list):
        raise UserError(f'{path}: is not a list of tasks; {HINT}.')
    images, left = [], 0
    for number, entry in enumerate(content, 1):
        where = f'{path}, task {number}'
        try:
            name, height, width = (entry['data'][key] for key in DATA)
            done = [
                annotation
                for annotation in entry['annotations']
                if not annotation.get('was_cancelled')
            ]
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f'{where}: has no {error}; {HINT}.') from error
        if not done:
            left += 1
            continue
        if len(done) > 1:
            raise UserError(
                f'{where} ({name}): has {len(done)} annotations; keep one.'
            )
        try:
            image = AnnotatedImage(name, int(height), int(width))
            _read_results(image, done[0]['result'], heads)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f'{where} ({name}): {error} cannot be read.'
            ) from error
        images.append(image)
    return heads, images, left


def _read_config(path: str | Path) -> Heads:
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise UserError(
            f'{path}: is not a labelling configuration ({error}); give the '
            'labels.xml that was exported.'
        ) from error
    heads: Heads = {}
    for element in root.iter():
        if element.tag in FORM_OF:
            classes = tuple(
                child.get('value', '')
                for child in element
                if child.tag in ('Choice', 'Label')
            )
            heads[element.get('name', '')] = Head(
                FORM_OF[element.tag],
                classes,
                element.tag == 'Choices' and element.get('choice') == 'single',
            )
    if not heads:
        raise UserError(
            f'{path}: has none of {", ".join(FORM_OF)}; give the labels.xml '
            'that was exported.'
        )
    return heads


def _read_results(
    image: AnnotatedImage, results: Sequence[Mapping[str, Any]], heads: Heads
) -> None:
    """Read the regions and choices of an image."""
    for task, head in heads.items():
        part: dict[str, Any] = getattr(image, head.form)
        part[task] = [] if head.form == 'boxes' else {}
    for result in results:
        task = result['from_name']
        if task not in heads:
            raise ValueError(f'an annotation of "{task}"')
        head, value = heads[task], result['value']
        kind = TAGS[head.form][2]
        if result['type'] != kind:
            raise ValueError(f'a region of the type "{result["type"]}"')
        names = value[kind]
        unknown = set(names) - set(head.classes)
        if unknown:
            raise ValueError(f'the class "{unknown.pop()}" of {task}')
        if head.form == 'labels':
            image.labels[task] |= dict.fromkeys(names, 1.0)
            continue
        if value.get('rotation') or result.get('image_rotation'):
            raise ValueError(f'a rotated region of {task}')
        size = result['original_height'], result['original_width']
        if size != (image.height, image.width):
            raise ValueError(f'an image of {size[1]} x {size[0]} pixels')
        (label,) = names
        if head.form == 'boxes':
            image.boxes[task].append(_read_box(value, label, image))
            continue
        mask = decode_brush(value['rle'], image.height, image.width, task)
        before = image.masks[task].get(label)
        if before is not None:
            mask |= before()
        image.masks[task][label] = functools.partial(np.array, mask)


def _read_box(
    value: Mapping[str, Any], label: str, image: AnnotatedImage
) -> Box:
    x1 = value['x'] * image.width / 100
    y1 = value['y'] * image.height / 100
    x2 = x1 + value['width'] * image.width / 100
    y2 = y1 + value['height'] * image.height / 100
    corners = tuple(round(each, 3) for each in (x1, y1, x2, y2))
    return Box(corners, label)
