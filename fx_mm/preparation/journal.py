"""Which images a run has done, in case it is killed."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from fx_mm.preparation.prepared_image import PreparedImage
from fx_mm.utils.files import write_whole


class Journal:
    """Results of the images that are done, in case the run is killed.

    Args:
        path (Path): The file; it is taken up if it was written under the
            same circumstances.
        circumstances (dict): Arguments and files of the raw dataset.
        rewrite (bool): Whether all images are to be written again.

    Attributes:
        done (dict): Key of an image to its :class:`PreparedImage`.
        rewrite (bool): As given, or of the run that is taken up.
        resumed (bool): Whether a run is taken up.
    """

    def __init__(
        self,
        path: Path,
        circumstances: Mapping[str, Any],
        rewrite: bool = False,
    ) -> None:
        self.path = path
        self.done: dict[str, PreparedImage] = {}
        self.rewrite = rewrite
        self.resumed = self._read(circumstances)
        if not self.resumed:
            self.done, self.rewrite = {}, rewrite
            head = json.dumps([circumstances, rewrite])
            write_whole(path, head + '\n')
        self._file: TextIO | None = None

    def _read(self, circumstances: Mapping[str, Any]) -> bool:
        try:
            lines = self.path.read_text(encoding='utf-8').split('\n')
            then, rewrite = json.loads(lines[0])
        except (OSError, ValueError):
            return False
        if then != json.loads(json.dumps(circumstances)):
            return False
        if self.rewrite and not rewrite:
            return False
        self.rewrite = rewrite
        for line in lines[1:-1]:
            with contextlib.suppress(ValueError):  # a line that was cut off
                key, result = json.loads(line)
                self.done[key] = PreparedImage(**result)
        return True

    def add(self, results: Sequence[tuple[str, PreparedImage]]) -> None:
        """Note (key, PreparedImage) of images that are done."""
        if self._file is None:
            self._file = self.path.open('a', encoding='utf-8')
            self._file.write('\n')  # ends a line that was cut off
        for key, result in results:
            self.done[key] = result
            self._file.write(json.dumps([key, result.to_dict()]) + '\n')
        self._file.flush()

    def close(self) -> None:
        """Close the file; it stays."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """Delete it: all is done."""
        self.close()
        self.path.unlink(missing_ok=True)
