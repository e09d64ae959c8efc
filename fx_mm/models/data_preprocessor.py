"""From samples of the loader to a normalised batch on the device."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.utils.misc import samplelist_boxtype2tensor
from mmengine.model import BaseDataPreprocessor, stack_batch

from fx_mm.registry import MODELS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import all_kinds
from fx_mm.utils.errors import UserError


@MODELS.register_module()
class TaskDataPreprocessor(BaseDataPreprocessor):
    """Stack the images of a batch and normalise them as their task wants.

    Images go to the device as uint8, a quarter of the bytes of float. Images
    of different sizes are padded at the right and bottom with the mean.

    Args:
        normalize (dict, optional): A kind (``cls``) or a task's name to
            dict(mean, std) on the 0..255 scale, each one number or three;
            a task's entry goes before its kind's. Missing kinds keep the
            default, :attr:`TaskKind.normalize`. Defaults to None: the
            paper's values.
        pad_size_divisor (int): Height and width become multiples of it.
            Defaults to 1.
        non_blocking (bool): Whether the copies to the device are
            asynchronous; else the host waits for each. Defaults to True.

    Raises:
        UserError: If an entry of ``normalize`` has no mean or std, or a std
            that is not above 0.
    """

    statistics: torch.Tensor

    def __init__(
        self,
        normalize: dict[str, Any] | None = None,
        pad_size_divisor: int = 1,
        non_blocking: bool = True,
    ) -> None:
        super().__init__(non_blocking)
        self.pad_size_divisor = pad_size_divisor
        table = {kind.name: kind.normalize for kind in all_kinds()}
        table.update(normalize or {})
        self._index = {name: i for i, name in enumerate(table)}
        self.register_buffer(
            'statistics',
            torch.stack([_statistics(n, e) for n, e in table.items()]),
            persistent=False,
        )

    def forward(
        self, data: dict[Any, Any], training: bool = False
    ) -> dict[Any, Any]:
        """Prepare a batch of one task.

        Args:
            data (dict): ``inputs`` (list[Tensor] of uint8 (3, H, W), or one
                Tensor (N, 3, H, W)), ``data_samples``
                (list[FXDataSample]) and, where the pipeline gives the
                teacher a view of its own, ``teacher_inputs`` like
                ``inputs``.
            training (bool): Makes no difference. Defaults to False.

        Returns:
            dict: ``inputs`` float32 Tensor (N, 3, H, W); ``data_samples``
            with boxes as tensors and ``batch_input_shape`` and ``pad_shape``
            (h, w) of ``inputs`` in their metainfo; ``teacher_inputs``
            (N, 3, h, w), normalised alike, if given.
        """
        data = self.cast_data(data)
        inputs, samples = data['inputs'], data['data_samples']
        tasks = {sample.task for sample in samples}
        if len(tasks) != 1:
            raise ValueError(
                f'A batch must hold one task, not {sorted(tasks)}.'
            )
        sizes = [tuple(image.shape[-2:]) for image in inputs]
        batch = {
            key: self._normalise(data[key], samples[0])
            for key in ('inputs', 'teacher_inputs')
            if key in data
        }
        shape = tuple(batch['inputs'].shape[-2:])
        for sample, size in zip(samples, sizes):
            sample.set_metainfo(
                dict(batch_input_shape=shape, pad_shape=self._padded(size))
            )
        samplelist_boxtype2tensor(samples)
        return dict(batch, data_samples=samples)

    def statistics_of(self, sample: Any) -> torch.Tensor:
        """Mean and std (2, 3, 1, 1) for a sample's task."""
        # without annotation: as the task whose head it takes
        name = getattr(sample, 'pseudo', sample.task)
        index = self._index.get(name, self._index.get(sample.kind))
        return self.statistics[index]

    def _normalise(self, inputs: Any, sample: FXDataSample) -> torch.Tensor:
        mean, std = self.statistics_of(sample)
        equal = len({tuple(image.shape) for image in inputs}) == 1
        if equal and not isinstance(inputs, torch.Tensor):
            inputs = torch.stack(inputs)
        if equal and self._padded(inputs.shape[-2:]) == inputs.shape[-2:]:
            return (inputs.float() - mean) / std
        return stack_batch(
            [(image.float() - mean) / std for image in inputs],
            self.pad_size_divisor,
            0,
        )

    def _padded(self, size: Sequence[int]) -> tuple[int, ...]:
        divisor = self.pad_size_divisor
        return tuple(-(-length // divisor) * divisor for length in size)


def _statistics(name: str, entry: dict[str, Any]) -> torch.Tensor:
    """Return mean and std of one entry, shape (2, 3, 1, 1)."""
    values = []
    for key in ('mean', 'std'):
        if key not in entry:
            raise UserError(
                f'normalize["{name}"] has no "{key}"; give mean and std on '
                'the 0..255 scale.'
            )
        value = torch.as_tensor(entry[key], dtype=torch.float32)
        if value.numel() not in (1, 3) or (key == 'std' and value.min() <= 0):
            raise UserError(
                f'normalize["{name}"]["{key}"] is {entry[key]}; give one '
                'number or three, std above 0.'
            )
        values.append(value.flatten().expand(3).reshape(3, 1, 1))
    return torch.stack(values)
