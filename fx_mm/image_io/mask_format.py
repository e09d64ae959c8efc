"""What the values of a mask file mean: the option ``mask_format``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fx_mm.utils.checks import check_choice, check_keys
from fx_mm.utils.errors import UserError

TYPES = ('binary', 'bits', 'label_map', 'palette', 'alpha')
KEYS = dict(
    binary=('invert', 'ignore_index'),
    alpha=('invert', 'ignore_index'),
    bits=('ignore_index',),
    label_map=('values', 'background', 'ignore_index'),
    palette=('values', 'background', 'ignore_index'),
)
"""What each type can be told."""
IGNORE_INDEX = 255
BACKGROUND = ('background', 'bg', '__background__', '_background_')
"""Names of a first class that are the value 0 of a label map."""

Values = tuple[int, ...]


@dataclass(frozen=True)
class MaskFormat:
    """What the values of mask files mean.

    Attributes:
        type (str, optional): One of

            - ``binary``: one class, dark outside and bright inside, cut at
              one half; or 0 and 1, perhaps with 255 for ignored pixels.
            - ``alpha``: likewise, in the alpha channel.
            - ``label_map``: each value is one class; of a palette image, the
              index.
            - ``palette``: likewise, and nothing but palette images.
            - ``bits``: bit ``i`` is class ``i``, so that classes overlap.

            None: ``binary`` for one class and ``label_map`` for several, and
            what is not unambiguous is refused.
        values (dict, optional): Class name to its value, or values. Defaults
            to None: 1, 2, 3 and so on in the order of the classes; 0 and so
            on, if the first class is named ``background``.
        background (tuple[int]): Values that are none of the classes.
            Defaults to 0.
        ignore_index (tuple[int], optional): Values of the pixels that nobody
            annotated. Defaults to None: 255 in label maps and palettes, and
            in binary masks where 0, 1 and 255 are the values.
        invert (bool): Whether outside is bright. Defaults to False.
    """

    type: str | None = None
    values: tuple[tuple[str, Values], ...] | None = None
    background: Values = (0,)
    ignore_index: Values | None = None
    invert: bool = False

    @classmethod
    def from_cfg(
        cls, cfg: 'str | Mapping[str, Any] | MaskFormat | None'
    ) -> 'MaskFormat':
        """Check what a config says.

        Args:
            cfg (str | Mapping, optional): A type, or a dict with ``type``
                and other attributes of this class.

        Raises:
            UserError: Says what would be right.
        """
        if isinstance(cfg, MaskFormat):
            return cfg
        if cfg is None:
            return cls()
        if isinstance(cfg, str):
            cfg = dict(type=cfg)
        if not isinstance(cfg, Mapping):
            raise UserError(
                f'mask_format is {cfg!r}; write one of {", ".join(TYPES)}, '
                'or a dict with "type".'
            )
        kind: Any = cfg.get('type')
        check_choice('mask_format', kind, TYPES)
        check_keys(cfg, ('type', *KEYS[kind]), f'mask_format {kind}')
        found: dict[str, Any] = dict(type=kind)
        if cfg.get('values') is not None:
            if not isinstance(cfg['values'], Mapping) or not cfg['values']:
                raise UserError(
                    f'mask_format.values is {cfg["values"]!r}; write a dict '
                    'of class name to value.'
                )
            found['values'] = tuple(
                (str(name), _integers(f'mask_format.values.{name}', value))
                for name, value in cfg['values'].items()
            )
        for key in ('background', 'ignore_index'):
            if cfg.get(key) is not None:
                found[key] = _integers(f'mask_format.{key}', cfg[key])
        invert = cfg.get('invert', False)
        check_choice('mask_format.invert', invert, (True, False))
        return cls(**found, invert=bool(invert))

    def class_values(self, classes: Sequence[str]) -> tuple[Values, ...]:
        """Return the values of each class in a label map.

        Raises:
            UserError: If ``values`` has other classes.
        """
        if self.values is None:
            named = len(classes) > 1 and classes[0].lower() in BACKGROUND
            first = 0 if named else 1
            return tuple((first + n,) for n in range(len(classes)))
        values = dict(self.values)
        if set(values) != set(classes):
            raise UserError(
                f'mask_format.values has the classes {", ".join(values)}, '
                f'but the task has {", ".join(classes)}; write one value (or '
                'a list of values) for each; values of other classes belong '
                'into mask_format.background.'
            )
        return tuple(values[name] for name in classes)

    def ignored_values(self, classes: Sequence[str]) -> Values:
        """Return the values of ignored pixels in a label map."""
        if self.ignore_index is not None:
            return self.ignore_index
        taken = {v for values in self.class_values(classes) for v in values}
        taken.update(self.background)
        return () if IGNORE_INDEX in taken else (IGNORE_INDEX,)


def _integers(where: str, value: Any) -> Values:
    values = value if isinstance(value, (list, tuple)) else (value,)
    if any(isinstance(v, bool) or not isinstance(v, int) for v in values):
        raise UserError(
            f'{where} is {value!r}; write a whole number, or a list of them.'
        )
    return tuple(values)
