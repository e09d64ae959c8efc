"""From samples to a batch that is cheap to hand to the main process.

torch hands over each tensor of a batch by a file descriptor of its own,
for which the main process has to ask the worker, whatever the tensor's size:
a tenth of a short step. A batch here asks once, for the images, and a second
time where the annotations are many masks.
"""

import io
import pickle
from typing import Any

import torch
from torch.utils.data import default_collate

from fx_mm.registry import FUNCTIONS
from fx_mm.utils.errors import UserError

ALIGNMENT = 16
"""Bytes; the largest number that torch has."""
INLINE = 2**20
"""Bytes that a pipe carries faster than memory is shared."""


class Samples(list):
    """Data samples that are sent as one message.

    Their tensors share their memory in the process that receives them.
    """

    def pin_memory(self) -> 'Samples':
        """Return them with all values in one piece of pinned memory.

        torch's loader calls it where ``pin_memory`` is set.
        """
        _, (data, values) = self.__reduce__()
        return _restore(data, values, pin=True)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the samples apart from the values of their tensors."""
        stream = io.BytesIO()
        pickler = _SamplePickler(stream)
        pickler.dump(list(self))
        return _restore, (stream.getvalue(), pickler.values())


class _SamplePickler(pickle.Pickler):
    """Writes where a tensor's values lie in place of the tensor."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, pickle.HIGHEST_PROTOCOL)
        self._parts: list[Any] = []
        self._end = 0

    def persistent_id(self, obj: Any) -> tuple[Any, ...] | None:
        """Take the values of a tensor, if it is a plain one on the CPU."""
        if type(obj) is not torch.Tensor or obj.device.type != 'cpu':
            return None
        part = obj.detach().contiguous().reshape(-1).view(torch.uint8)
        start = self._end
        self._parts.append((start, part))
        self._end = start + -(-len(part) // ALIGNMENT) * ALIGNMENT
        return start, len(part), obj.dtype, tuple(obj.shape)

    def values(self) -> torch.Tensor | bytearray:
        """Return the bytes of all tensors; as a tensor, they are shared."""
        values = bytearray(self._end)
        if self._end:
            whole = torch.frombuffer(values, dtype=torch.uint8)
            for start, part in self._parts:
                whole[start : start + len(part)] = part
            if self._end > INLINE:
                return whole
        return values


class _SampleUnpickler(pickle.Unpickler):
    def __init__(self, data: bytes, values: torch.Tensor) -> None:
        super().__init__(io.BytesIO(data))
        self._values = values

    def persistent_load(self, place: tuple[Any, ...]) -> torch.Tensor:
        start, length, dtype, shape = place
        values = self._values[start : start + length]
        return values.view(dtype).reshape(shape)


def _restore(
    data: bytes, values: torch.Tensor | bytearray, pin: bool = False
) -> Samples:
    if isinstance(values, bytearray):
        # an empty buffer is refused
        values = torch.frombuffer(values or bytearray(1), dtype=torch.uint8)
    if pin:
        values = values.pin_memory()
    return Samples(_SampleUnpickler(data, values).load())


@FUNCTIONS.register_module()
def collate_batch(samples: list[dict[Any, Any]]) -> dict[Any, Any]:
    """Put samples side by side.

    Args:
        samples (list[dict]): What ``PackXray`` gave.

    Returns:
        dict: ``data_samples`` (list[FXDataSample]) and, for each of the
        images (``inputs``, perhaps ``teacher_inputs``), one uint8 Tensor
        (N, 3, H, W), or a list of Tensors (3, H, W) where sizes differ.

    Raises:
        UserError: If only some samples have a view for the teacher.
    """
    batch: dict[str, Any] = {}
    if any(sample.keys() != samples[0].keys() for sample in samples):
        raise UserError(
            f'Some samples of task {samples[0]["data_samples"].task} have a '
            'teacher view and others have none; take TeacherView out of '
            'RandomApply and RandomChoice.'
        )
    for key in samples[0]:
        values = [sample[key] for sample in samples]
        if key == 'data_samples':
            batch[key] = Samples(values)
        elif len({value.shape for value in values}) == 1:
            # in a worker it stacks right into memory that is shared
            batch[key] = default_collate(values)
        else:
            batch[key] = values
    return batch
