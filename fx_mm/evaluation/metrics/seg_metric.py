"""Metrics of a segmentation task."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from fx_mm.evaluation.metrics.base import TaskMetric
from fx_mm.evaluation.metrics.mask_codes import decode, encode
from fx_mm.evaluation.statistics.bootstrap import Statistics, unweighted
from fx_mm.evaluation.statistics.nan_mean import nan_mean
from fx_mm.evaluation.statistics.operating_points import Thresholds
from fx_mm.evaluation.statistics.surface import (
    band_width,
    boundary_iou,
    crop,
    hausdorff95,
    outline_distances,
    surface_dice,
)
from fx_mm.registry import METRICS
from fx_mm.utils.checks import check_choice, check_number
from fx_mm.utils.errors import UserError

SIZES = ('original', 'training')


class SegRecord(NamedTuple):
    """What is kept of the masks of one image.

    Attributes:
        img_id (str): Name of the image.
        pixels (np.ndarray): int64 (3, C): in both masks, in the true one,
            in the predicted one.
        outlines (np.ndarray, optional): float64 (3, C): 95 % Hausdorff
            distance, NaN if a mask is empty; normalised surface distance and
            boundary IoU, NaN if both are. None unless reported.
        codes (dict, optional): The masks themselves, run-length encoded,
            where predictions are saved.
    """

    img_id: str
    pixels: np.ndarray
    outlines: np.ndarray | None = None
    codes: dict[str, Any] | None = None


@METRICS.register_module()
class SegMetric(TaskMetric):
    """Dice of binary masks, one channel per class (Foundation X, section 4).

    The paper counts an image that has neither the class nor a prediction of
    it as 1, so a model that predicts nothing scores high where findings are
    rare; therefore the mean over the images that have the class stands
    beside it.

    Headline keys: ``Dice`` (mean over images and classes, empty and empty =
    1), ``Dice_pos`` (mean over classes of the mean over the images that have
    the class), ``Dice_pos/<class>``, and ``Dice_pos/<group>`` (mean over
    the group's classes). Details: ``Dice/<class>``, ``IoU``, ``IoU_pos``,
    ``Dice_pooled`` (of all pixels together), ``NSD_pos`` and ``BIoU_pos``
    (normalised surface distance and boundary IoU, over the images that have
    the class, 0 where nothing is predicted) and ``HD95`` (over the images
    where both masks have pixels, in pixels), with one key per class; and how
    many images they are over: ``n_present``, ``n_missed`` (present, nothing
    predicted), ``n_false`` (absent, something predicted), ``n_empty``
    (absent and nothing predicted, the ones of ``Dice``).

    Only sums and distances are kept, never a mask, unless predictions are
    saved. Pixels that nobody annotated are in neither mask.

    Args:
        class_groups (Mapping[str, Sequence[str]], optional): Group name to
            class names, e.g. ``dict(organs=('lungs', 'heart'))``.
            Defaults to None.
        size (str): Masks are compared at ``'original'`` size, or at
            ``'training'`` size as in the paper: both are reduced to the
            model's input by taking the nearest pixel. Defaults to
            ``'original'``.
        nsd_tolerance (float): How far apart outlines agree, for
            ``NSD_pos``, in pixels of that size. Defaults to 2.
        boundary_width (float): Width of the band for ``BIoU_pos``, as a
            share of the diagonal of that size; at least a pixel. Defaults to
            0.02, as in its paper.
        **kwargs: See :class:`TaskMetric`.

    Attributes:
        keep_masks (bool): Whether to keep the encoded masks, to save them.
    """

    record = SegRecord

    def __init__(
        self,
        class_groups: Mapping[str, Sequence[str]] | None = None,
        size: str = 'original',
        nsd_tolerance: float = 2.0,
        boundary_width: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        where = 'metric.{} of a seg task'.format
        check_choice(where('size'), size, SIZES)
        check_number(where('nsd_tolerance'), nsd_tolerance, 0)
        check_number(where('boundary_width'), boundary_width, 0, 1)
        self.nsd_tolerance = nsd_tolerance
        self.boundary_width = boundary_width
        self.class_groups = dict(class_groups or {})
        self.size = size
        self.keep_masks = False

    def check_meta(self) -> None:
        """Check the groups against the class names.

        Raises:
            UserError: If a group has the name of a class or an unknown
                class in it.
        """
        for group, names in self.class_groups.items():
            if group in self.classes:
                raise UserError(
                    f"metric of {self.task}: the group '{group}' has the "
                    'name of a class; rename it in `class_groups`.'
                )
            self.check_classes(names, f'class_groups.{group}')

    def process(
        self, data_batch: Any, data_samples: Sequence[dict[str, Any]]
    ) -> None:
        """Count pixels of a batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Samples with ``img_id``,
                ``gt_sem_seg`` and ``pred_sem_seg``, each with ``data`` of
                shape (C, H, W), nonzero = inside; perhaps with ``ignore``
                (C, H, W) or (1, H, W) in the truth, nonzero = counts as
                outside in both; for ``size='training'`` also ``img_shape``.

        Raises:
            ValueError: If truth and prediction differ in shape.
        """
        for sample in data_samples:
            pred = sample['pred_sem_seg']['data']
            truth = sample['gt_sem_seg']['data'].to(pred.device)
            ignore = sample['gt_sem_seg'].get('ignore')
            if ignore is not None:
                truth, pred = (_without(m, ignore) for m in (truth, pred))
            codes = None
            if self.keep_masks:
                codes = dict(
                    truth=encode(truth),
                    pred=encode(pred),
                    img_shape=tuple(sample['img_shape'][:2]),
                )
            if self.size == 'training':
                shape = tuple(sample['img_shape'][:2])
                truth, pred = (_nearest(mask, shape) for mask in (truth, pred))
            if truth.shape != pred.shape:
                raise ValueError(
                    f'{sample["img_id"]}: masks of shape '
                    f'{tuple(pred.shape)} cannot be compared with the truth '
                    f'of shape {tuple(truth.shape)}'
                )
            truth, pred = truth.bool(), pred.bool()
            pixels = torch.stack(
                [
                    torch.count_nonzero(mask, dim=(1, 2))
                    for mask in (truth & pred, truth, pred)
                ]
            )
            outlines = None
            if self.kept is not None:
                pairs = zip(truth.cpu().numpy(), pred.cpu().numpy())
                outlines = np.array(
                    [self._outlines(*pair) for pair in pairs]
                ).T
            self.results.append(
                SegRecord(
                    sample['img_id'], pixels.cpu().numpy(), outlines, codes
                )
            )

    def _outlines(
        self, truth: np.ndarray, pred: np.ndarray
    ) -> tuple[float, float, float]:
        """Compare the outlines of one class; see :class:`SegRecord`."""
        width = band_width(truth.shape, self.boundary_width)
        truth, pred = crop(truth, pred)
        if not truth.size:
            return np.nan, np.nan, np.nan
        distances = outline_distances(truth, pred)
        return (
            hausdorff95(distances),
            surface_dice(distances, self.nsd_tolerance),
            boundary_iou(truth, pred, width),
        )

    def compute_unique(self, records: list[SegRecord]) -> dict[str, float]:
        """Compute the Dice means.

        Args:
            records (list[SegRecord]): One per image.

        Returns:
            dict[str, float]: See the headline keys of the class.
        """
        found = unweighted(self.statistics(records), len(records))
        names = [*self.classes, *self.class_groups]
        keys = ['Dice', 'Dice_pos', *(f'Dice_pos/{name}' for name in names)]
        return {key: found[key] for key in keys}

    def details(
        self, records: list[SegRecord], thresholds: Thresholds | None = None
    ) -> dict[str, float]:
        """Compute the other keys of the class."""
        found = unweighted(self.statistics(records), len(records))
        _, truth, pred = self._pixels(records)
        for key, which in (
            ('n_present', truth > 0),
            ('n_missed', (truth > 0) & (pred == 0)),
            ('n_false', (truth == 0) & (pred > 0)),
            ('n_empty', (truth == 0) & (pred == 0)),
        ):
            found[key] = int(which.sum())
            found.update(self.by_class(key, which.sum(axis=0).tolist()))
        return found

    def statistics(
        self, records: list[SegRecord], thresholds: Thresholds | None = None
    ) -> Statistics:
        """Return all means; those of outlines where they were kept."""
        both, truth, pred = self._pixels(records)
        dice = self.dice(records)
        union = truth + pred - both
        iou = np.divide(both, union, out=np.ones_like(union), where=union > 0)
        present = (truth > 0).astype(np.float64)
        shape = (len(records), len(self.classes))
        outlines = np.full((3, *shape), np.nan)
        kept = [r.outlines for r in records if r.outlines is not None]
        if kept:
            outlines[:] = np.stack(kept, axis=1)
        measured = ~np.isnan(outlines)
        every = np.ones(shape)
        filled = np.where(measured, outlines, 0)
        over = measured * np.array([every, present, present])
        means = dict(
            Dice=(dice, every),
            Dice_pos=(dice, present),
            IoU=(iou, every),
            IoU_pos=(iou, present),
            HD95=(filled[0], over[0]),
            NSD_pos=(filled[1], over[1]),
            BIoU_pos=(filled[2], over[2]),
        )

        def compute(weights: np.ndarray) -> dict[str, np.ndarray]:
            exact = weights.astype(np.float64)
            columns = {}
            with np.errstate(invalid='ignore', divide='ignore'):
                for key, (values, counted) in means.items():
                    total = exact @ (values * counted)
                    columns[key] = total / (exact @ counted)
                columns['Dice_pooled'] = (
                    2 * (exact @ both) / (exact @ (truth + pred))
                )
            found = {}
            for key, values in columns.items():
                found[key] = nan_mean(values, axis=1)
                found.update(self.by_class(key, values.T))
            for group, names in self.class_groups.items():
                members = [self.classes.index(name) for name in names]
                values = columns['Dice_pos'][:, members]
                found[f'Dice_pos/{group}'] = nan_mean(values, axis=1)
            return found

        return compute

    def dice(self, records: list[SegRecord]) -> np.ndarray:
        """Return the Dice of each image and class, (N, C), empty ones as 1."""
        both, truth, pred = self._pixels(records)
        total = truth + pred
        return np.divide(
            2 * both, total, out=np.ones_like(total), where=total > 0
        )

    def present(self, records: list[SegRecord]) -> np.ndarray:
        """Return which images have which class, bool (N, C)."""
        return self._pixels(records)[1] > 0

    def _pixels(self, records: list[SegRecord]) -> np.ndarray:
        """Return the counts of all images, float64 (3, N, C)."""
        pixels = np.array([r.pixels for r in records], dtype=np.float64)
        pixels = pixels.reshape(len(records), 3, len(self.classes))
        return pixels.transpose(1, 0, 2)

    def pack(self, records: list[SegRecord]) -> dict[str, np.ndarray]:
        """Return what predictions are saved as; see :class:`TaskMetric`."""
        codes = [record.codes or {} for record in records]
        columns: dict[str, np.ndarray] = dict(
            sizes=np.array(
                [c['truth'][0]['size'] for c in codes], np.int64
            ).reshape(-1, 2),
            pred_sizes=np.array(
                [c['pred'][0]['size'] for c in codes], np.int64
            ).reshape(-1, 2),
            img_shapes=np.array(
                [c['img_shape'] for c in codes], np.int64
            ).reshape(-1, 2),
        )
        for side, key in (('true', 'truth'), ('pred', 'pred')):
            runs = [mask['counts'] for code in codes for mask in code[key]]
            columns[f'{side}_lengths'] = np.array(
                list(map(len, runs)), np.int64
            ).reshape(-1, len(self.classes))
            columns[f'{side}_runs'] = np.frombuffer(b''.join(runs), np.uint8)
        return columns

    def unpack(
        self, columns: dict[str, np.ndarray], img_ids: list[str]
    ) -> Iterator[dict[str, Any]]:
        """Return the samples that were saved; see :class:`TaskMetric`."""
        sides = {}
        for side, sizes in (('true', 'sizes'), ('pred', 'pred_sizes')):
            lengths = columns[f'{side}_lengths']
            ends = np.cumsum(lengths).reshape(lengths.shape)
            sides[side] = (
                columns[f'{side}_runs'],
                lengths,
                ends,
                columns[sizes],
            )

        def masks(side: str, i: int) -> torch.Tensor:
            runs, lengths, ends, sizes = sides[side]
            return decode(
                [
                    dict(
                        size=sizes[i].tolist(),
                        counts=runs[end - length : end].tobytes(),
                    )
                    for length, end in zip(lengths[i], ends[i])
                ]
            )

        for i, img_id in enumerate(img_ids):
            yield dict(
                img_id=img_id,
                img_shape=tuple(columns['img_shapes'][i].tolist()),
                gt_sem_seg=dict(data=masks('true', i)),
                pred_sem_seg=dict(data=masks('pred', i)),
            )

    def same_truth(self, own: SegRecord, other: SegRecord) -> bool:
        """Whether the true areas are the same."""
        return np.array_equal(own.pixels[1], other.pixels[1])

    def notes(
        self,
        records: list[SegRecord],
        values: Mapping[str, float],
        predict_on: str,
        has_thresholds: bool,
    ) -> list[str]:
        """Count the empty, missed and false masks."""
        return [
            f'{values["n_empty"]:.0f} masks are empty and predicted empty, '
            f'which counts as a Dice of 1; {values["n_missed"]:.0f} are '
            f'missed, {values["n_false"]:.0f} false, and have no HD95 '
            f'({predict_on}).',
            f'NSD_pos is of outlines at most {self.nsd_tolerance:g} pixels '
            f'apart at {self.size} size, BIoU_pos of bands as wide as '
            f'{self.boundary_width:.3g} of the diagonal.',
        ]


def _without(mask: torch.Tensor, ignore: torch.Tensor) -> torch.Tensor:
    """Return a mask without the ignored pixels."""
    ignore = _nearest(ignore.to(mask.device), tuple(mask.shape[1:]))
    return mask.masked_fill(ignore > 0, 0)


def _nearest(mask: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    if mask.shape[1:] == shape:
        return mask
    resized = F.interpolate(mask[None].float(), shape, mode='nearest-exact')
    return resized[0]
