"""The sample that travels through loader, model, metrics and visualizer."""

import torch
from mmdet.structures import DetDataSample


class FXDataSample(DetDataSample):
    """One image with the annotation and the prediction of ONE task.

    It adds image-level scores to mmdet's sample, and uses of it:

    - ``gt_score``, ``pred_score`` (Tensor): One value in 0..1 per class,
      shape (C,); ``gt_score`` is NaN where the label is unknown.
    - ``gt_value``, ``pred_value`` (Tensor): One number per target in its
      unit, shape (C,); ``gt_value`` is NaN where unknown; ``pred_std``
      where the model predicts a standard deviation.
    - ``gt_instances``, ``pred_instances`` (InstanceData): Boxes (n, 4) xyxy
      in pixels, ``labels`` (n,) and, predicted, ``scores`` (n,). Predictions
      are in pixels of the original image.
    - ``gt_sem_seg``, ``pred_sem_seg`` (PixelData): ``data`` of 0 and 1, shape
      (C, h, w), one channel per class in the order of the task's classes;
      channels may overlap. ``gt_sem_seg.ignore``, where nobody annotated some
      pixels: 1 at those, shape (C, h, w), or (1, h, w) for all classes; they
      carry no loss and no metric, and ``data`` is 0 there.

    A kind of its own may add further fields whose names begin with ``gt_``
    and ``pred_``.

    Metainfo: ``task`` (``dataset/kind``), ``dataset``, ``kind``, ``img_id``,
    ``img_path``, ``ori_shape`` and ``img_shape`` (h, w), ``scale_factor``
    (w, h), and ``replaced``: None, or why another image of the task stands in
    for the one that was asked for.
    """

    @property
    def gt_score(self) -> torch.Tensor:
        """Tensor: True score of each class, shape (C,), NaN = unknown."""
        return self._gt_score

    @gt_score.setter
    def gt_score(self, value: torch.Tensor) -> None:
        self.set_field(value, '_gt_score', dtype=torch.Tensor)

    @gt_score.deleter
    def gt_score(self) -> None:
        del self._gt_score

    @property
    def pred_score(self) -> torch.Tensor:
        """Tensor: Predicted probability of each class, shape (C,)."""
        return self._pred_score

    @pred_score.setter
    def pred_score(self, value: torch.Tensor) -> None:
        self.set_field(value, '_pred_score', dtype=torch.Tensor)

    @pred_score.deleter
    def pred_score(self) -> None:
        del self._pred_score
