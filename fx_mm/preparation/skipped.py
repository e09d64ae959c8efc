"""What of a raw dataset is not used: logged at once, kept for the manifest."""

from fx_mm.utils.log import log


class Skipped:
    """Collects notes on what of a raw dataset is not used.

    Attributes:
        notes (list[str]): One per call of :meth:`add` that counted any.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []

    def add(self, count: int, what: str) -> None:
        """Note and log how much is not used and why.

        Args:
            count (int): How many; 0 is not noted.
            what (str): Such as ``images without a row in train-rle.csv``.
        """
        if count:
            self.notes.append(f'{what}: {count} skipped')
            log(f'Note: {self.notes[-1]}.')
