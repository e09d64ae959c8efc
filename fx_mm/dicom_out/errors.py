"""What is wrong with one image, while the others go on."""

from fx_mm.utils.errors import UserError


class SourceError(UserError):
    """An image has no header that results could refer to."""
