"""Which validation results have their best weights kept."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from fx_mm.utils.errors import UserError

FORMS = (
    'it must be the name of a validation result, such as '
    '"phantom_b/loc/mAP_40", a dict(name="mean", of=[names]), or a list of '
    'these'
)


@dataclass(frozen=True)
class Best:
    """A figure of the validation, higher is better.

    Args:
        name (str): What the log calls it.
        of (tuple[str]): The results it is the mean of.
        file (str): Name of the file of its best weights.
    """

    name: str
    of: tuple[str, ...]
    file: str

    @property
    def key(self) -> str:
        """str: Where the message hub keeps the best value."""
        return f'best/{self.name}'

    def check(self, val_loop) -> None:
        """Look before the training whether its tasks are validated.

        Args:
            val_loop (MultiTaskValLoop, optional): None without validation.

        Raises:
            UserError: If they are not.
        """
        if val_loop is None:
            raise UserError(
                f'checkpoint.save_best is "{self.name}", but the config has '
                'no validation (val_cfg).'
            )
        tasks = list(getattr(val_loop, 'evaluators', ()))
        others = list(getattr(val_loop, 'predict_on', ()))[1:]
        starts = [f'{task}/' for task in tasks]
        starts += [f'{owner}/{start}' for owner in others for start in starts]
        for name in self.of:
            if tasks and not name.startswith(tuple(starts)):
                raise UserError(
                    f'checkpoint.save_best has "{name}", which the '
                    'validation does not give; its results begin with: '
                    f'{", ".join(starts)}.'
                )

    def value(self, metrics: Mapping[str, float]) -> float:
        """Give the figure of a validation.

        Args:
            metrics (dict[str, float]): All results.

        Returns:
            float: The mean; NaN if any of its results is, since means over
            different results cannot be compared.

        Raises:
            UserError: If there is no such result.
        """
        for name in self.of:
            if name not in metrics:
                raise UserError(
                    f'checkpoint.save_best is "{name}", which the validation '
                    f'does not give; it gives: {", ".join(metrics)}.'
                )
        return math.fsum(metrics[name] for name in self.of) / len(self.of)


def read_save_best(entry) -> list[Best]:
    """Read ``checkpoint.save_best``.

    Args:
        entry (str, dict, list or None): One result, a mean of results, or
            several of both.

    Returns:
        list[Best]: A single result has the file ``best.pth``, all else one
        named after it.

    Raises:
        UserError: If the entry has another form, or two share a name.
    """
    if entry is None:
        return []
    if isinstance(entry, str):
        return [Best(entry, (entry,), 'best.pth')]
    entries = [entry] if isinstance(entry, Mapping) else entry
    if not isinstance(entries, list | tuple) or not entries:
        raise UserError(f'checkpoint.save_best is {entry!r}; {FORMS}.')
    found = [_read_one(one) for one in entries]
    files = [best.file for best in found]
    for best in found:
        if files.count(best.file) > 1:
            raise UserError(
                f'checkpoint.save_best has two entries "{best.name}"; give '
                'each another name.'
            )
    return found


def _read_one(entry) -> Best:
    name, of = entry, [entry]
    if isinstance(entry, Mapping) and set(entry) == {'name', 'of'}:
        name, of = entry['name'], entry['of']
    names = [name, *of] if isinstance(of, list | tuple) and of else [None]
    if not all(isinstance(each, str) and each for each in names):
        raise UserError(f'checkpoint.save_best has {entry!r}; {FORMS}.')
    return Best(name, tuple(of), f'best_{name.replace("/", "_")}.pth')
