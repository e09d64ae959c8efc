"""What lies where another file should be: pages, pointers, archives."""

import codecs

WEB_PAGE = (
    'is a web page and not the file: the link leads to a page, such as one to '
    'log in or to confirm; open it in a browser and download the file'
)
_FIRST_BYTES = {
    b'PK\x03\x04': 'is a zip archive or an Excel file; unpack it, or save '
    'the sheet as CSV',
    b'\xd0\xcf\x11\xe0': 'is an Excel file; save the sheet as CSV',
    b'\x1f\x8b': 'is packed by gzip; unpack it',
    b'\xfd7zXZ\0': 'is packed by xz; unpack it',
    b'7z\xbc\xaf': 'is packed by 7z; unpack it',
    b'\x28\xb5\x2f\xfd': 'is packed by zstd; unpack it',
    b'BZh': 'is packed by bzip2; unpack it',
    b'Rar!': 'is packed by RAR; unpack it',
    b'%PDF': 'is a PDF document',
    b'\0\5\x16\7': 'is what macOS keeps beside a file; delete it',
    b'version https://git-lfs': 'is a pointer of Git LFS and not the file '
    'itself; fetch it with "git lfs pull"',
    b'/annex/objects/': 'is a pointer of git-annex and not the file itself; '
    'fetch it with "git annex get"',
    b'<!doctype html': WEB_PAGE,
    b'<html': WEB_PAGE,
    b'<?xml': 'is an error page (XML) and not the file; download it again',
}


def name_foreign_file(head: bytes) -> str | None:
    """Return what a file is that is not what its name says.

    Args:
        head (bytes): Its content, or the first 32 bytes.

    Returns:
        str: Such as ``is a web page ...``; None if it is none of these.
    """
    text = head[:64].removeprefix(codecs.BOM_UTF8).lstrip().lower()
    for signature, what in _FIRST_BYTES.items():
        if head.startswith(signature) or text.startswith(signature):
            return what
    return None
