"""Image names of annotation files: once each, inside the data, on disk."""

import logging
import os
import os.path as osp
import unicodedata
from collections.abc import Sequence

from fx_mm.utils.errors import UserError
from fx_mm.utils.log import log

NAMED = 100
"""Missing images that the log names."""


class FileIndex:
    """Knows which files exist, without asking the disk for each.

    After a few questions about a folder it lists it, so a folder of 100,000
    images costs one listing. Folders of few images (MIMIC-CXR has one or two
    in each) cost one question per image, which is quicker than a listing.
    """

    QUESTIONS = 8
    FOLDERS = 10_000
    """Folders whose questions are counted; then counting begins anew."""

    def __init__(self) -> None:
        self._asked: dict[str, int | frozenset[str]] = {}
        # by folder: the one form of a name to the names on the disk
        self._forms: dict[str, dict[str, list[str]]] = {}
        self._folders: dict[str, str | None] = {}

    def __contains__(self, path: str) -> bool:
        folder, _, name = path.rpartition('/')
        asked = self._asked.get(folder, 0)
        if isinstance(asked, int):
            if asked < self.QUESTIONS:
                if len(self._asked) > self.FOLDERS:
                    self._forget()
                self._asked[folder] = asked + 1
                return _is_there(path)
            asked = self._asked[folder] = self._list(folder)
        return name in asked

    def _forget(self) -> None:
        """Keep the listings alone: few questions cost more to remember."""
        listed = (i for i in self._asked.items() if not isinstance(i[1], int))
        self._asked = dict(listed)
        if len(self._asked) > self.FOLDERS // 2:
            self._asked = {}

    def find(self, path: str) -> str | None:
        """Find a file whose name may be written in another way.

        On the disk its suffix may be of another case, and its letters and
        those of its folders may be composed differently: macOS decomposes
        them.

        Args:
            path (str): The file's path.

        Returns:
            str, optional: The path as it is on the disk; None if there is no
            such file, or several.
        """
        if path in self:
            return path
        folder, slash, name = path.rpartition('/')
        if folder not in self._folders:
            # the root is there, so this ends
            there = not folder or osp.isdir(folder)
            self._folders[folder] = folder if there else self.find(folder)
        real = self._folders[folder]
        if real is None:
            return None
        real += slash
        if real not in self._forms:
            forms = self._forms[real] = {}
            for each in self._list(real):
                forms.setdefault(_one_form(each), []).append(each)
        found = self._forms[real].get(_one_form(name), [])
        if name not in found and len(found) != 1:
            return None
        return real + (name if name in found else found[0])

    @staticmethod
    def _list(folder: str) -> frozenset[str]:
        try:
            return frozenset(os.listdir(folder or '.'))
        except OSError:
            return frozenset()


def _is_there(path: str) -> bool:
    """Whether a path exists, in half the time of ``os.path.exists``."""
    try:
        return os.access(path, os.F_OK)
    except ValueError:  # a null byte
        return False


def _one_form(name: str) -> str:
    """Return what names of the same file have in common."""
    stem, suffix = osp.splitext(unicodedata.normalize('NFC', name))
    return stem + suffix.lower()


class ImageNames:
    """Checks the image names of one split and collects the images.

    Args:
        ann_file (str): For the messages.
        img_dir (str): Folder of the images.
        img_ids (Sequence[str], optional): Names to keep. Defaults to None.
        suffix (str): Added to each name. Defaults to ''.
        max_missing (float): Share of the images that may be missing on disk.
            Defaults to 0.
        data_root (str, optional): Folder that names with ``..`` must not
            leave. Defaults to None: ``img_dir``.
        unit (str): What the file numbers, for the messages. Defaults to
            'row'.

    Attributes:
        names (list[str]): The names of the images to keep, in order.
        paths (list[str]): Their files.
    """

    def __init__(
        self,
        ann_file: str,
        img_dir: str,
        img_ids: Sequence[str] | None = None,
        suffix: str = '',
        max_missing: float = 0.0,
        data_root: str | None = None,
        unit: str = 'row',
    ) -> None:
        self.ann_file = ann_file
        self.img_ids = None if img_ids is None else set(img_ids)
        self.suffix = suffix
        self.max_missing = max_missing
        self.names: list[str] = []
        self.paths: list[str] = []
        self._folder = Folder(img_dir, data_root)
        self._files = FileIndex()
        self._seen: dict[str, int | str] = {}
        self._missing: list[int] = []
        self._renamed: dict[str, str] = {}
        self._unit = unit

    def add(self, name: str, place: int | str) -> bool:
        """Check a name and keep the image if it is wanted.

        Args:
            name (str): The image's name in the annotation file.
            place (int | str): Number of the row (or ``unit``) in the file.

        Returns:
            bool: Whether the image was kept.

        Raises:
            UserError: If the name is blank, was there before, or leads out
                of the data.
        """
        name = name.strip()
        if not name:
            raise UserError(
                f'{self._where(place)}: the image name is blank; fill it in '
                'or delete the row.'
            )
        if name in self._seen:
            raise UserError(
                f'{self._where(place)}: image "{name}" was already in '
                f'{self._unit} {self._seen[name]}; keep one of the two.'
            )
        self._seen[name] = place
        if self.img_ids is not None and name not in self.img_ids:
            return False
        path = self._folder.join(name + self.suffix)
        if path is None:
            raise UserError(
                f'{self._where(place)}: image "{name}" leads out of the '
                'data folder; write its path relative to img_dir.'
            )
        if path not in self._files:
            found = self._folder.find(name + self.suffix, self._files)
            if found is None:
                self._missing.append(len(self.names))
            else:
                self._renamed[name] = path = found
        self.names.append(name)
        self.paths.append(path)
        return True

    def finish(self) -> None:
        """Check the whole; warn of images that are missing on disk.

        Raises:
            UserError: If there were no images, not all of ``img_ids``, two
                names of one file, or too many are missing on disk.
        """
        if not self._seen:
            raise UserError(
                f'{self.ann_file}: lists no images; name the file of the '
                'split that has them.'
            )
        absent = sorted((self.img_ids or set()) - set(self._seen))
        if absent:
            raise UserError(
                f'{self.ann_file}: "img_ids" asks for "{absent[0]}", which is '
                f'not among its {len(self._seen)} images.'
            )
        if self.img_ids is not None and not self.img_ids:
            raise UserError(
                f'"img_ids" is an empty list and leaves nothing of '
                f'{self.ann_file}; name the images to keep or remove it.'
            )
        if self._renamed:
            self._judge_renamed()
        if self._missing:
            self._judge_missing()
        # what the checks needed, which is as large as the names
        self._seen, self._files = {}, FileIndex()

    def _judge_renamed(self) -> None:
        """Refuse two names of one file; say which names the disk has."""
        owners: dict[str, str] = {}
        for name, path in zip(self.names, self.paths):
            other = owners.setdefault(path, name)
            if other != name:
                raise UserError(
                    f'{self._where(self._seen[name])}: images "{other}" and '
                    f'"{name}" are the same file {path}; keep one of the two.'
                )
        name, path = next(iter(self._renamed.items()))
        log(
            f'{self.ann_file}: {len(self._renamed)} of {len(self.names)} '
            'images are written in another way than their files (case of the '
            f'suffix, Unicode form, or slashes), such as "{name}" for {path}.',
            logging.WARNING,
        )

    def _judge_missing(self) -> None:
        gone, total = len(self._missing), len(self.names)
        if gone > self.max_missing * total:
            first = self._missing[0]
            raise UserError(
                f'{self._where(self._seen[self.names[first]])}: image file '
                f'{self.paths[first]} does not exist ({gone} of {total} are '
                f'missing, {self.max_missing:.1%} may be); check img_dir '
                '(and img_suffix), complete the images, delete their rows, '
                "or raise the reader's max_missing for training."
            )
        names = [self.names[index] for index in self._missing[:NAMED]]
        if gone > NAMED:
            names.append(f'and {gone - NAMED} more')
        log(
            f'{self.ann_file}: {gone} of {total} images do not exist in '
            f'{self._folder.path}; other images of the task take their '
            f'place: {", ".join(names)}',
            logging.WARNING,
        )

    def _where(self, place: int | str) -> str:
        return f'{self.ann_file}, {self._unit} {place}'


class Folder:
    """A folder that names of an annotation file are relative to.

    Args:
        path (str): The folder.
        data_root (str, optional): A folder around it that names with ``..``
            may reach. Defaults to None: ``path`` itself.
    """

    def __init__(self, path: str, data_root: str | None = None) -> None:
        self.path = path
        self._prefix = osp.join(path, '')
        self._roots = [osp.abspath(path)]
        if data_root is not None:
            self._roots.append(osp.abspath(data_root))

    def join(self, name: str) -> str | None:
        """Return the path of a name; None if it leads out of the data.

        Symbolic links are not resolved, since an official dataset may be
        linked into the data root.
        """
        if '..' not in name and name[0] != '/':
            return self._prefix + name
        if osp.isabs(name):
            return None
        path = osp.normpath(self._prefix + name)
        inside = any(
            osp.commonpath([root, osp.abspath(path)]) == root
            for root in self._roots
        )
        return path if inside else None

    def find(self, name: str, files: FileIndex) -> str | None:
        """Return the path of a name's file, however its name is written.

        Args:
            name (str): May have a Windows table's backslashes, besides what
                :meth:`FileIndex.find` allows.
            files (FileIndex): Knows which files exist.

        Returns:
            str, optional: None if there is no such file in the data.
        """
        for text in dict.fromkeys((name, name.replace('\\', '/'))):
            path = self.join(text)
            found = None if path is None else files.find(path)
            if found is not None:
                return found
        return None
