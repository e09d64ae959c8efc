"""The log, also where mmengine's is not wanted."""

import functools
import logging
import sys

from mmengine.logging import print_log


def log(text: str, level: int = logging.INFO) -> None:
    """Write to the current log, or print where there can be none.

    mmengine's logger imports torch, which takes seconds and hundreds of MB;
    without torch no run has made a logger.

    Args:
        text (str): What to say.
        level (int): As of :mod:`logging`. Defaults to INFO.
    """
    if 'torch' in sys.modules:
        print_log(text, 'current', level)
    elif level > logging.INFO:
        print(f'{logging.getLevelName(level)}: {text}')
    else:
        print(text)


@functools.cache
def log_once(text: str, level: int = logging.INFO) -> None:
    """Write to the current log what this process has not said before."""
    log(text, level)
