"""The log, with mmengine's logger and without torch."""

import logging
import subprocess
import sys

from fx_mm.utils.log import log as write
from fx_mm.utils.log import log_once

WITHOUT = """
import logging, sys
from fx_mm.utils.log import log, log_once
log('note')
for _ in range(2):
    log_once('odd', logging.WARNING)
print('torch' in sys.modules)
"""


def test_the_current_log_has_text_and_level(log):
    write('a note')
    write('something odd', logging.WARNING)
    levels = {r.message: r.levelno for r in log.records}
    assert levels == {'a note': logging.INFO, 'something odd': logging.WARNING}


def test_the_same_is_said_once(log):
    for _ in range(3):
        log_once('test_log says this')
        log_once('test_log says that')
    said = [record.message for record in log.records]
    assert said == ['test_log says this', 'test_log says that']


def test_without_torch_it_is_printed():
    done = subprocess.run(
        [sys.executable, '-c', WITHOUT],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ['note', 'WARNING: odd', 'False']
