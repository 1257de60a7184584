"""A Landlock ruleset: which files a worker may read and write.

Linux `Documentation/userspace-api/landlock.rst`; it needs no privilege, and holds for the superuser
too. Each newer version of the interface can forbid more: what the kernel offers is used.
"""

import contextlib
import ctypes
import errno
import os
import struct
from collections.abc import Iterable
from pathlib import Path

# The same on every machine.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH = 1
# Rights of files by the version that brought them: execute to make_sym, refer, truncate, ioctl_dev.
_FILE_RIGHTS = ((1, (1 << 13) - 1), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_EXECUTE, _MAKE_SPECIAL = 1, (1 << 6) | (1 << 9) | (1 << 10) | (1 << 11)
_OF_A_FILE = 1 | 1 << 1 | _READ_FILE | 1 << 14 | 1 << 15
# From version 4 on: TCP bind and connect; from 6 on: abstract sockets and signals to outside.
_TCP, _OUTSIDE = 0b11, 0b11


def check_one_thread() -> None:
    """Raises OSError where the process has other threads, which would stay as they are."""
    if len(os.listdir("/proc/self/task")) != 1:
        raise OSError(errno.EBUSY, "Landlock can restrict one thread only")


def restrict(readable: Iterable[Path], writable: Iterable[Path]) -> None:
    """Leave this thread, permanently, only what lies beneath these paths. Raises OSError.

    Called where the process has one thread (`check_one_thread`). A path that does not exist gives
    no right. The process must have given up new privileges before.
    """
    version = _call(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)
    handled = sum(rights for since, rights in _FILE_RIGHTS if since <= version)
    attributes = struct.pack(
        "=QQQ", handled, _TCP if version >= 4 else 0, _OUTSIDE if version >= 6 else 0
    )
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _call(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0)
    try:
        for path in readable:
            _allow(ruleset, path, _READ_FILE | _READ_DIR)
        for path in writable:
            _allow(ruleset, path, handled & ~_EXECUTE & ~_MAKE_SPECIAL)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not path.is_dir():
                rights &= _OF_A_FILE
            rule = struct.pack("=Qi", rights, opened)
            _call(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
        finally:
            os.close(opened)


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    found = int(libc.syscall(ctypes.c_long(number), *arguments))
    if found < 0:
        raise OSError(ctypes.get_errno(), "Landlock is not there")
    return found
