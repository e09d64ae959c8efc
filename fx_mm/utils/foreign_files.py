"""What lies where another file should be: error pages, pointers, archives."""

_STARTS = {
    b'version https://git-lfs.github.com': (
        'is a Git LFS pointer, not the file itself; run git lfs pull'
    ),
    b'/annex/objects/': (
        'is a git-annex pointer, not the file itself; run git annex get'
    ),
    b'\0\5\x16\7': (
        'is what macOS keeps beside a file (AppleDouble); delete it'
    ),
    b'PK\3\4': 'is a ZIP archive; unpack it',
    b'\x1f\x8b': 'is compressed with gzip; unpack it',
    b'%PDF': 'is a PDF document',
}
_PAGES = (b'<!doctype html', b'<html', b'<head', b'<?xml', b'<!--')


def name_foreign_file(data: bytes) -> str | None:
    """Return what a file is that is not what its name says.

    Args:
        data (bytes): Its content, or the first 256 bytes.

    Returns:
        str: Such as ``is an HTML page ...``; None if it is none of these.
    """
    for start, what in _STARTS.items():
        if data.startswith(start):
            return what
    if data[:256].lstrip(b'\xef\xbb\xbf \t\r\n').lower().startswith(_PAGES):
        return (
            'is an HTML or XML page, such as a log-in or error page, not '
            'the file itself; download it again'
        )
    return None
