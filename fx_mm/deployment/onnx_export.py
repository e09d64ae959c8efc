"""A trained model as an ONNX file that needs neither torch nor fx_mm."""

import contextlib
import importlib.util
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor

from fx_mm.config import load_config
from fx_mm.datasets.image_pipeline import ImagePipeline
from fx_mm.deployment.graph import TaskGraph
from fx_mm.models import FoundationX, open_model
from fx_mm.tasks import Task
from fx_mm.tasks.kinds import CROPS
from fx_mm.utils.checks import check_choice
from fx_mm.utils.errors import UserError
from fx_mm.version import __version__

SCHEMA_VERSION = 1
METADATA_KEY = 'fx_mm'
DTYPES = ('uint8', 'float32')
TOLERANCE = 1e-4
# Images of several shapes: a pipeline that keeps the aspect shows itself.
PROBES = ((96, 80), (80, 96), (64, 64))


def export_onnx(
    config: str | Path | Config | None,
    checkpoint: str | Path,
    out: str | Path,
    tasks: str | Sequence[str] | None = None,
    predict_on: str | None = None,
    dtype: str = 'uint8',
    trust: bool = False,
    check: bool = True,
) -> dict[str, Any]:
    """Write the named tasks of a checkpoint as one ONNX graph.

    The graph takes ``images`` (B, 1, H, W), grey, resized as the test
    pipeline does, values 0..255; B is free. Its outputs are those of
    :class:`TaskGraph`. What they mean stands in the file's metadata under
    ``fx_mm``.

    Args:
        config (str | Path | Config, optional): The experiment's config; None
            for the one that the checkpoint holds.
        checkpoint (str | Path): Checkpoint file or URL.
        out (str | Path): The file to write.
        tasks (str | Sequence[str], optional): Task names. Defaults to all.
        predict_on (str, optional): ``teacher`` or ``student``. Defaults to
            None: as the checkpoint says.
        dtype (str): Type of the input, ``uint8`` or ``float32``. Defaults to
            ``uint8``.
        trust (bool): Unpickle anything in the checkpoint. Defaults to False.
        check (bool): Compare the file with the model in onnxruntime, on
            random images, before it gets its name. Defaults to True.

    Returns:
        dict: The metadata: ``predict_on``, ``input``, ``tasks`` with their
        classes and outputs, ``notes`` and, if checked, ``difference``.

    Raises:
        UserError: If a package is missing, the tasks do not fit into one
            graph, or the file computes something else than the model.
    """
    check_choice('dtype', dtype, DTYPES)
    needed = ['onnx', 'onnxscript'] + ['onnxruntime'] * check
    _check_packages(needed)
    if isinstance(config, str | Path):
        config = load_config(str(config))
    both, chosen, _ = open_model(
        config, str(checkpoint), tasks, trust, predict_on
    )
    model, preprocessor = both.active, both.data_preprocessor
    _check_guidance(model, chosen)
    size = _input_size(chosen, preprocessor.pad_size_divisor)
    graph = TaskGraph(model, preprocessor, chosen, size).eval()
    description = dict(
        schema_version=SCHEMA_VERSION,
        fx_mm_version=__version__,
        checkpoint=os.path.basename(checkpoint),
        predict_on=both.predict_on,
        **_describe(model, chosen, size, dtype),
    )
    out = Path(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent) as folder:
            # Under its own name, which the file of large weights holds.
            path = Path(folder, out.name)
            _write(graph, _random_images(2, size, dtype), description, path)
            if check:
                description['difference'] = _compare(graph, path, size, dtype)
            for file in sorted(Path(folder).iterdir(), reverse=True):
                os.replace(file, out.parent / file.name)
    except OSError as error:
        raise UserError(
            f'{out} cannot be written ({error.strerror}); give another name.'
        ) from error
    return description


def _check_packages(names: Sequence[str]) -> None:
    missing = [n for n in names if importlib.util.find_spec(n) is None]
    if missing:
        raise UserError(
            f'The export to ONNX needs {", ".join(missing)}; run '
            f'"pip install {" ".join(missing)}".'
        )


def _check_guidance(model: FoundationX, tasks: Sequence[Task]) -> None:
    """Refuse masks that boxes guide.

    Raises:
        UserError: Names them.
    """
    guidance = model.region_guidance
    masks = [
        task.name
        for task in tasks
        if guidance is not None and guidance.guides(task, model.tasks)
    ]
    if masks:
        raise UserError(
            f'The masks of {", ".join(masks)} are guided by as many boxes as '
            'an image has, which ONNX cannot hold; export other tasks, see '
            '--tasks.'
        )


def _input_size(tasks: Sequence[Task], divisor: int) -> tuple[int, int]:
    """Return height and width of what the test pipelines make.

    Raises:
        UserError: If it is not the same for all images and tasks.
    """
    sizes = {}
    for task in tasks:
        pipeline = ImagePipeline(task)
        shapes = {
            pipeline(np.zeros(shape, np.uint8), 'probe')['img'].shape[:2]
            for shape in PROBES
        }
        if len(shapes) > 1:
            raise UserError(
                f'The test pipeline of task {task.name} gives images of '
                'several sizes, but the graph has one; resize with '
                'keep_ratio=False.'
            )
        (sizes[task.name],) = shapes
    if len(set(sizes.values())) > 1:
        found = ', '.join(f'{name} {h}x{w}' for name, (h, w) in sizes.items())
        raise UserError(
            f'The tasks see images of different sizes ({found}), but a graph '
            'has one; export them apart, see --tasks.'
        )
    size = next(iter(sizes.values()))
    if any(side % divisor for side in size):
        raise UserError(
            f'Images of {size[0]}x{size[1]} would be padded to a multiple of '
            f'{divisor}; resize to one.'
        )
    return size


def _describe(
    model: FoundationX,
    tasks: Sequence[Task],
    size: tuple[int, int],
    dtype: str,
) -> dict[str, Any]:
    """Return what the input and the outputs mean."""
    entries, notes = [], []
    for task in tasks:
        entry = dict(task.meta, img_size=task.config['img_size'])
        branch = model.branch(task.kind)
        if hasattr(branch, 'threshold'):
            entry['threshold'] = branch.threshold
        entries.append(entry)
        tta = task.config.get('tta')
        if tta not in (None, 'center_crop'):
            what = 'the centre' if tta in CROPS else 'the image as it is'
            notes.append(f'{task.name}: of tta="{tta}" {what} alone')
    return dict(
        input=dict(
            name='images',
            shape=['batch', 1, *size],
            dtype=dtype,
            values='grey, 0..255, bone bright, resized to the shape',
        ),
        tasks=entries,
        notes=notes,
    )


def _random_images(count: int, size: tuple[int, int], dtype: str) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(
        256, (count, 1, *size), generator=generator, dtype=torch.uint8
    )
    return images if dtype == 'uint8' else images.float()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's remarks on its own passes."""
    logger = logging.getLogger('onnxscript')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)


def _write(
    graph: TaskGraph,
    images: Tensor,
    description: dict[str, Any],
    path: Path,
) -> None:
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                graph,
                (images,),
                dynamo=True,
                input_names=['images'],
                output_names=graph.output_names,
                dynamic_shapes=dict(images={0: torch.export.Dim('batch')}),
                verbose=False,
            )
    except Exception as error:
        # The exporter raises whatever its passes raise.
        text = ' '.join(str(error.__cause__ or error).split())
        names = ', '.join(view.task for view in graph.views)
        raise UserError(
            f'torch cannot export {names} to ONNX ({text[:200]}); try fewer '
            'tasks, see --tasks.'
        ) from error
    # torch returns none without dynamo alone
    program = cast(torch.onnx.ONNXProgram, program)
    program.model.metadata_props[METADATA_KEY] = json.dumps(description)
    program.save(str(path))


def _compare(
    graph: TaskGraph, path: Path, size: tuple[int, int], dtype: str
) -> dict[str, float]:
    """Return the largest difference between onnxruntime and torch, by task.

    Raises:
        UserError: If it is more than :data:`TOLERANCE`.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(path), providers=['CPUExecutionProvider']
    )
    gaps = {view.task: 0.0 for view in graph.views}
    names = graph.output_names
    for count in (1, 3):
        images = _random_images(count, size, dtype)
        with torch.no_grad():
            ours = dict(zip(names, (x.numpy() for x in graph(images))))
        outputs = session.run(names, {'images': images.numpy()})
        theirs = dict(zip(names, outputs))
        for view in graph.views:
            task, own = view.task, graph.names_of(view)
            if len(own) > 1:
                gap = _list_gap(
                    *(_side_by_side(x, own) for x in (ours, theirs))
                )
            else:
                gap = _gap(ours[task], theirs[task])
            gaps[task] = max(gaps[task], gap)
    wrong = [f'{n} ({gap:.2g})' for n, gap in gaps.items() if gap > TOLERANCE]
    if wrong:
        raise UserError(
            f'onnxruntime computes other values for {", ".join(wrong)} than '
            'the model, so nothing was written; try fewer tasks, see --tasks.'
        )
    return gaps


def _gap(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference; of numbers above 1 as a share of the largest."""
    scale = max(1.0, float(np.abs(ours).max()))
    return float(np.abs(ours - theirs).max()) / scale


def _side_by_side(
    outputs: dict[str, np.ndarray], names: Sequence[str]
) -> np.ndarray:
    """Join outputs that list objects, such as boxes, to one (B, n, k)."""
    values = [outputs[name] for name in names]
    values = [v[..., None] if v.ndim == 2 else v for v in values]
    return np.concatenate(values, -1)


def _list_gap(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the difference to the nearest object, but for a twentieth.

    Rounding swaps boxes and queries of nearly equal scores, as it does
    between two devices.

    Args:
        ours (np.ndarray): Objects, such as box, score and label (B, n, 6).
        theirs (np.ndarray): The same.
    """
    gaps = np.abs(ours[:, :, None] - theirs[:, None]).max(-1).min(-1)
    return float(np.quantile(gaps, 0.95, method='lower'))
