"""Unix sockets that only their owner can use; whoever can connect is treated as the gateway.

The socket has mode 0600, in a folder that only its owner can write to, so nobody else can replace
it. Both ends check this.
"""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sealgate.reasons import Reason, SealgateError

# The size of a path in `sockaddr_un` on Linux, without the final zero.
LONGEST_PATH = 107
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def check_folder(path: Path) -> None:
    """Check the folder of a socket. Raises SealgateError(SOCKET_EXPOSED)."""
    folder = path.parent
    try:
        status = os.stat(folder)
    except OSError as error:
        raise _exposed(f"{folder}: {error.strerror}") from error
    if status.st_uid != os.geteuid():
        raise _exposed(f"{folder} belongs to user {status.st_uid}, not to {os.geteuid()}")
    if status.st_mode & _OTHERS_WRITE:
        raise _exposed(f"{folder} has mode {stat.filemode(status.st_mode)}; try chmod 700")


def check_socket(path: Path) -> None:
    """Check a socket before connecting to it.

    Raises SealgateError: ENGINE_UNAVAILABLE where there is none, SOCKET_EXPOSED.
    """
    check_folder(path)
    try:
        status = os.lstat(path)
    except OSError as error:
        raise SealgateError(Reason.ENGINE_UNAVAILABLE, f"{path}: {error.strerror}") from error
    if not stat.S_ISSOCK(status.st_mode):
        raise _exposed(f"{path} is not a socket")
    if status.st_uid != os.geteuid():
        raise _exposed(f"{path} belongs to user {status.st_uid}, not to {os.geteuid()}")
    if status.st_mode & _OTHERS:
        raise _exposed(f"{path} has mode {stat.filemode(status.st_mode)}, not srw-------")


def clear_way(path: Path) -> None:
    """Remove what an engine that was killed left at `path`.

    Raises SealgateError(SOCKET_EXPOSED) where what is there is not such a socket, or is in use.
    """
    check_folder(path)
    if not os.path.lexists(path):
        return
    check_socket(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        if probe.connect_ex(str(path)) == 0:
            raise _exposed(f"another engine listens on {path}")
    path.unlink(missing_ok=True)


@contextmanager
def private_files() -> Iterator[None]:
    """Let only the owner use the files that the block creates.

    Only for a process that has no other threads yet: the mask applies to the whole process.
    """
    before = os.umask(_OTHERS | stat.S_IXUSR)
    try:
        yield
    finally:
        os.umask(before)


def _exposed(detail: str) -> SealgateError:
    return SealgateError(Reason.SOCKET_EXPOSED, detail)
