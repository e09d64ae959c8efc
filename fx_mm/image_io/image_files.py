"""The images of a folder."""

from pathlib import Path

from fx_mm.image_io.folders import split_imageless, walk_files
from fx_mm.image_io.xray import IMAGE_SUFFIXES, is_dicom
from fx_mm.utils.errors import UserError
from fx_mm.utils.log import log


def find_images(
    folder: str | Path, exclude: str | Path | None = None
) -> list[str]:
    """List the images of a folder and its subfolders.

    Args:
        folder (str | Path): The folder.
        exclude (str | Path, optional): A folder within that is left out.
            Defaults to None.

    Returns:
        list[str]: Files with the suffix of an image and DICOM files of any
        name, sorted. Hidden ones are left out, and DICOM files that hold no
        image, such as DICOMDIR and reports, which are counted in the log.

    Raises:
        UserError: If there is none.
    """
    folder = Path(folder)
    skip = None if exclude is None else Path(exclude).resolve()
    if skip in (folder.resolve(), *folder.resolve().parents):
        raise UserError(
            f'{folder}: the results would go there, among the images; give '
            'another folder for the results.'
        )
    files = walk_files(folder, lambda below: below.resolve() == skip)
    images, others = split_imageless(
        path
        for path in files
        if path.is_file()
        and (path.suffix.lower() in IMAGE_SUFFIXES or _is_dicom_file(path))
    )
    if others:
        log(
            f'{folder}: {len(others)} DICOM files without an image skipped, '
            f'such as {others[0].relative_to(folder)}.'
        )
    if not images:
        raise UserError(
            f'{folder}: no image in this folder; known are '
            f'{", ".join(IMAGE_SUFFIXES)} and DICOM files of any name.'
        )
    return list(map(str, sorted(images)))


def _is_dicom_file(path: Path) -> bool:
    try:
        with path.open('rb') as file:
            return is_dicom(file.read(132))
    except OSError:
        return False
