"""The C library's memory allocator."""

import ctypes

TRIM_THRESHOLD = -1, 2**31 - 1
MMAP_THRESHOLD = -3, 32 * 2**20
"""Number and value of the options; the values are the largest it takes."""


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next tensor.

    By default it gives every large block back to the system, and each
    training step on a CPU gets its memory anew, page by page. Steps take
    about a tenth less time so; the peak stays the same.

    Returns:
        bool: Whether the C library has these options.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    # Setting one alone would switch off how glibc adapts the other.
    return all([mallopt(*TRIM_THRESHOLD), mallopt(*MMAP_THRESHOLD)])
