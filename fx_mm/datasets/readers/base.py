"""What all readers share: which images of a file are read."""

from abc import ABCMeta, abstractmethod
from collections.abc import Sequence

from fx_mm.datasets.readers.images import ImageNames
from fx_mm.utils.checks import check_number


class BaseReader(metaclass=ABCMeta):
    """Turns an annotation file into records, checking all of it.

    A record is a dict with ``img_path``, ``img_id`` (the image's name in the
    annotation file, unique in the split) and, by the kind of task:

    - cls: ``gt_score`` (np.ndarray): float32 (C,) in 0..1, NaN = unknown;
      ``score_range`` (np.ndarray): float32 (C, 2), where a value is drawn
      for each sample in training its lowest and highest, else NaN. Only
      where the reader draws any.
    - loc: ``boxes`` (np.ndarray): float32 (n, 4) xyxy in pixels of the
      original image; ``box_labels`` (np.ndarray): int64 (n,). Images
      without boxes stay in.
    - seg: ``mask_paths`` (dict): class name to path or None (empty mask).

    Names of images and masks are relative; absolute ones, and those that
    leave the data by ``..``, are refused.

    Args:
        only (Sequence[str], optional): Names of the images to keep, as the
            annotation file writes them. Defaults to None, which keeps all.
        img_suffix (str): What the files' names have and the annotation lacks,
            such as ``.png``. Defaults to ''.
        max_missing (float): Share of the images that may be missing on disk,
            in training; they are named in the log and others take their
            place. Evaluation needs all. Defaults to 0.001.
        data_root (str, optional): Folder that names with ``..`` must not
            leave. Defaults to None: the folder that they are relative to.
            :class:`TaskDataset` fills it in.
    """

    def __init__(
        self,
        only: Sequence[str] | None = None,
        img_suffix: str = '',
        max_missing: float = 0.001,
        data_root: str | None = None,
    ) -> None:
        check_number("The reader's max_missing", max_missing, 0, 1)
        self.only = only
        self.img_suffix = img_suffix
        self.max_missing = max_missing
        self.data_root = data_root

    @abstractmethod
    def __call__(self, ann_file: str, img_dir: str, task) -> Sequence[dict]:
        """Read one split.

        Args:
            ann_file (str): Path of the annotation file.
            img_dir (str): Folder that image names are relative to.
            task (Task): Gives ``name``, ``classes`` and ``labels``.

        Returns:
            Sequence[dict]: Records in the order of the file.

        Raises:
            UserError: Names the file and row of what is wrong.
        """

    def images(
        self, ann_file: str, img_dir: str, unit: str = 'row'
    ) -> ImageNames:
        """Start checking the image names of a split."""
        return ImageNames(
            ann_file,
            img_dir,
            self.only,
            self.img_suffix,
            self.max_missing,
            self.data_root,
            unit,
        )
