"""Limits the files that a worker can reach: a mount namespace of its own, and a Landlock ruleset.

Landlock refuses to open other files, but `stat` still tells their names, sizes and times. In a
mount namespace of its own, a worker has no path to them at all. See mount_namespaces(7).

1. A mount namespace, which the superuser may have as it is; others, in a user namespace of their
   own, where their user stays the same.
2. No mount of it is shared with the system's.
3. Each tree is cloned: read-only, except for the scratch folder.
4. An empty, read-only file system holds the clones under their own paths. It becomes the root, and
   the old one is unmounted.

There is no /proc, but for the files that are asked for.

A Landlock ruleset: which files a worker may read and write. Linux
`Documentation/userspace-api/landlock.rst`; it needs no privilege, and holds for the superuser too.
Each newer version of the interface can forbid more: what the kernel offers is used.
"""

import contextlib
import ctypes
import errno
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from registry.sandbox import syscalls

_NEW_MOUNTS, _NEW_USERS = 0x00020000, 0x10000000
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18
_MNT_DETACH = 2
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_TREE_CLONE, _FROM_EMPTY_PATH = 1, 4
_READ_ONLY, _NO_SETUID, _NO_DEVICES = 1, 2, 4
# Empty folders alone: an inode takes about a KiB.
_ROOT_OPTIONS = b"size=1m,nr_inodes=4096,mode=755"


def enter(readable: Iterable[Path], scratch: Path) -> None:
    """Leave this process only what lies beneath these paths. It must have one thread.

    Raises OSError where the kernel allows no such namespace; then all files still have their names.
    A path that does not exist is left out. The working folder is `scratch` afterwards.
    """
    # 1.
    _new_namespaces()
    # 2.
    _check(_libc().mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None))
    with ExitStack() as opened:
        # 3.
        trees = {}
        for path in (*_outermost(readable), scratch):
            if not os.path.exists(path):
                continue
            trees[path] = tree = _clone(path)
            opened.callback(os.close, tree)
            if path != scratch:
                _restrict(tree, _READ_ONLY, _AT_EMPTY_PATH | _AT_RECURSIVE)
        # 4.
        _replace_root(trees, scratch)


def _replace_root(trees: Mapping[Path, int], place: Path) -> None:
    """Make a file system of these trees alone, first mounted at `place`, the root."""
    _check(_libc().mount(b"none", bytes(place), b"tmpfs", ctypes.c_ulong(0), _ROOT_OPTIONS))
    try:
        os.chdir(place)
        for path, tree in trees.items():
            _attach(tree, path)
        _restrict(_AT_FDCWD, _READ_ONLY | _NO_SETUID | _NO_DEVICES, 0, b".")
        # The old root now covers the new one, and so is what is unmounted: see pivot_root(2).
        _call(syscalls.PIVOT_ROOT, b".", b".")
    except OSError:
        os.chdir("/")
        _check(_libc().umount2(bytes(place), _MNT_DETACH))
        os.chdir(place)
        raise
    _check(_libc().umount2(b".", _MNT_DETACH))
    os.chdir(place)


def new_user_namespace() -> None:
    """A namespace in which no user is known: nothing can take another one. Raises OSError."""
    _check(_libc().unshare(_NEW_USERS))


def _new_namespaces() -> None:
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        with suppress(OSError):
            _check(_libc().unshare(_NEW_MOUNTS))
            return
    _check(_libc().unshare(_NEW_MOUNTS | _NEW_USERS))
    # See user_namespaces(7): without privileges, a group can be mapped only after this.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _outermost(paths: Iterable[Path]) -> Iterator[Path]:
    """The absolute paths, under the names that they have and those that links lead to, without
    those that lie beneath others.
    """
    named = {Path(os.path.abspath(path)) for path in paths}
    named |= {path.resolve() for path in named}
    return (path for path in sorted(named) if named.isdisjoint(path.parents))


def _clone(path: Path) -> int:
    """A descriptor of a copy of the mounts at and beneath `path`, attached nowhere."""
    flags = _TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE
    return _call(syscalls.OPEN_TREE, _AT_FDCWD, bytes(path), flags)


def _restrict(folder: int, attributes: int, flags: int, path: bytes = b"") -> None:
    # struct mount_attr: set, clear, propagation, user namespace.
    wanted = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    _call(syscalls.MOUNT_SETATTR, folder, path, flags, ctypes.byref(wanted), size)


def _attach(tree: int, path: Path) -> None:
    """Mount the clone at `path` beneath the working folder."""
    place = path.relative_to("/")
    if os.path.isdir(path):
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    _call(syscalls.MOVE_MOUNT, tree, b"", _AT_FDCWD, bytes(place), _FROM_EMPTY_PATH)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(numbers: tuple[int, int], *arguments: object) -> int:
    libc = _libc()
    libc.syscall.restype = ctypes.c_long
    return _check(libc.syscall(ctypes.c_long(numbers[syscalls.machine().column]), *arguments))


def _check(found: int) -> int:
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found


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
    version = _landlock(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)
    handled = sum(rights for since, rights in _FILE_RIGHTS if since <= version)
    attributes = struct.pack(
        "=QQQ", handled, _TCP if version >= 4 else 0, _OUTSIDE if version >= 6 else 0
    )
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _landlock(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0)
    try:
        for path in readable:
            _allow(ruleset, path, _READ_FILE | _READ_DIR)
        for path in writable:
            _allow(ruleset, path, handled & ~_EXECUTE & ~_MAKE_SPECIAL)
        _landlock(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not path.is_dir():
                rights &= _OF_A_FILE
            rule = struct.pack("=Qi", rights, opened)
            _landlock(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
        finally:
            os.close(opened)


def _landlock(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    found = int(libc.syscall(ctypes.c_long(number), *arguments))
    if found < 0:
        raise OSError(ctypes.get_errno(), "Landlock is not there")
    return found
