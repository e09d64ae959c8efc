"""The allocator's options."""

import ctypes
import platform

from fx_mm.utils import memory


def test_glibc_takes_the_options():
    assert memory.keep_freed_memory() == (platform.libc_ver()[0] == 'glibc')


def test_another_c_library_is_left_alone(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, 'CDLL', missing)
    assert memory.keep_freed_memory() is False
