"""Errors of image files."""

from fx_mm.utils.errors import UserError


class ImageReadError(UserError):
    """An image file that is missing, cut off or not readable.

    The message is ``<path>: <reason>``.
    """


class UnreadableError(Exception):
    """Why bytes are not an image; becomes an :class:`ImageReadError`."""
