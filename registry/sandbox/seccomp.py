"""A seccomp filter for a worker: no network, no new processes, no access to other processes.

It is a program of classic BPF (Linux `Documentation/userspace-api/seccomp_filter.rst`). It needs no
privilege, and works in containers: a filter is only ever added to what stands already. Calls are
refused by name rather than allowed by name, since what numpy and onnxruntime call differs with
libc, kernel and machine; calls newer than those we know are refused as unknown.
"""

import ctypes
import errno
import os
import platform
import struct
from dataclasses import dataclass

from registry.sandbox import syscalls

_LOAD, _EQUAL, _AT_LEAST, _ABOVE, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x25, 0x45, 0x06
_KILL, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
# struct seccomp_data: nr, arch, instruction pointer, six arguments of 64 bits (little-endian).
_NR, _ARCH, _ARGS = 0, 4, 16
_X32_BIT = 0x40000000
_CLONE_THREAD = 0x00010000
_SET_MODE_FILTER, _ALL_THREADS = 1, 1


@dataclass(frozen=True, slots=True)
class Machine:
    """The kernel's name for an architecture, and its column in `syscalls`."""

    arch: int
    column: int


_MACHINES = {
    "x86_64": Machine(0xC000003E, syscalls.X86_64),
    "aarch64": Machine(0xC00000B7, syscalls.AARCH64),
}


def machine() -> Machine:
    """This machine. Raises OSError (ENOSYS) where we know no system calls of it."""
    found = _MACHINES.get(platform.machine())
    if platform.system() != "Linux" or found is None or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise OSError(errno.ENOSYS, "seccomp is set up for Linux on x86-64 and aarch64 only")
    return found


def install() -> None:
    """Put every thread of this process under the filter, permanently. Raises OSError.

    The process must have given up new privileges (PR_SET_NO_NEW_PRIVS) before.
    """
    here = machine()
    code = program(here, os.getpid())
    buffer = ctypes.create_string_buffer(code, len(code))
    head = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    number = ctypes.c_long(syscalls.SECCOMP[here.column])
    # A positive answer would be a thread that could not be brought along.
    if libc.syscall(number, _SET_MODE_FILTER, _ALL_THREADS, ctypes.byref(head)) != 0:
        raise OSError(ctypes.get_errno(), "no seccomp filter can be set")


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def program(here: Machine, pid: int) -> bytes:
    """The filter of the process `pid`, as the kernel takes it: 8 bytes an instruction.

    1. Calls of another architecture, or of x32, end the process.
    2. A clone that makes no thread ends it; so does a signal to another process.
    3. Its own limits can be read, and none set.
    4. What is in `syscalls.FATAL` ends it; what is in `syscalls.REFUSED` or is newer than
       `syscalls.NEWEST` fails. The rest goes on.
    """
    column = here.column
    # 1.
    code = [
        _step(_LOAD, _ARCH),
        _step(_EQUAL, here.arch, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NR),
    ]
    if column == syscalls.X86_64:
        code += [_step(_AT_LEAST, _X32_BIT, 0, 1), _step(_RETURN, _KILL)]
    # 2.
    code += _unless(syscalls.CLONE[column], 0, _step(_ANY_BIT, _CLONE_THREAD, 0, 1), _KILL)
    code += _unless(syscalls.TGKILL[column], 0, _step(_EQUAL, pid, 0, 1), _KILL)
    # 3. The first argument is the process, 0 for the caller; the third, a pointer to new limits,
    # must be null in both halves.
    prlimit = syscalls.PRLIMIT[column]
    code += _oneself_only(prlimit, pid)
    code += _null_only(prlimit, 2)
    # 4.
    for fatal in syscalls.FATAL.values():
        code += _on(fatal[column], _KILL)
    for refused in syscalls.REFUSED.values():
        code += _on(refused[column], _ERRNO | refused[2])
    code += [_step(_ABOVE, syscalls.NEWEST, 0, 1), _step(_RETURN, _ERRNO | errno.ENOSYS)]
    code.append(_step(_RETURN, _ALLOW))
    return b"".join(code)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One struct sock_filter; jumps count the instructions that are skipped."""
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _on(number: int | None, action: int) -> list[bytes]:
    return [] if number is None else [_step(_EQUAL, number, 0, 1), _step(_RETURN, action)]


def _unless(number: int, argument: int, test: bytes, action: int) -> list[bytes]:
    """Return the rule of one call: allowed if `test` of an argument's low half holds, else
    `action`.
    """
    return [
        _step(_EQUAL, number, 0, 4),
        _step(_LOAD, _ARGS + 8 * argument),
        test,
        _step(_RETURN, _ALLOW),
        _step(_RETURN, action),
    ]


def _oneself_only(number: int, pid: int) -> list[bytes]:
    """Return the rule of one call: denied if its first argument is another process."""
    return [
        _step(_EQUAL, number, 0, 4),
        _step(_LOAD, _ARGS),
        _step(_EQUAL, 0, 2, 0),
        _step(_EQUAL, pid, 1, 0),
        _step(_RETURN, _ERRNO | errno.EPERM),
        # What comes next looks at the call's number.
        _step(_LOAD, _NR),
    ]


def _null_only(number: int, argument: int) -> list[bytes]:
    return [
        _step(_EQUAL, number, 0, 6),
        _step(_LOAD, _ARGS + 8 * argument),
        _step(_EQUAL, 0, 0, 3),
        _step(_LOAD, _ARGS + 8 * argument + 4),
        _step(_EQUAL, 0, 0, 1),
        _step(_RETURN, _ALLOW),
        _step(_RETURN, _ERRNO | errno.EPERM),
    ]
