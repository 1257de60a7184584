"""The seccomp filter of a worker, and the numbers of the system calls that it denies.

Numbers are those of Linux `arch/x86/entry/syscalls/syscall_64.tbl` and
`include/uapi/asm-generic/unistd.h` (which aarch64 uses). A column is None where the machine has no
such call.

A worker gets no network, no new processes and no access to other processes. The filter is a program
of classic BPF (Linux `Documentation/userspace-api/seccomp_filter.rst`). It needs no privilege, and
works in containers: a filter is only ever added to what stands already. Calls are refused by name
rather than allowed by name, since what numpy and onnxruntime call differs with libc, kernel and
machine; calls newer than those we know are refused as unknown.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Mapping
from dataclasses import dataclass

X86_64, AARCH64 = 0, 1
# Calls that came after this one are unknown here, and answered as an older kernel would.
NEWEST = 462

CLONE = (56, 220)
PRLIMIT = (302, 261)
TGKILL = (234, 131)
SECCOMP = (317, 277)
CAPSET = (126, 91)
PIVOT_ROOT = (155, 41)
OPEN_TREE = (428, 428)
MOVE_MOUNT = (429, 429)
MOUNT_SETATTR = (442, 442)

# Calls that no computation needs: a process that tries one is ended at once.
FATAL: Mapping[str, tuple[int | None, int | None]] = {
    # the network, and other processes' sockets
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
    "recvfrom": (45, 207),
    "recvmsg": (47, 212),
    "recvmmsg": (299, 243),
    # io_uring does the work of other calls where no filter sees it
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # new programs and processes (clone makes threads too: see `seccomp`)
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    # other processes
    "kill": (62, 129),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # what happens to files of others
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "inotify_add_watch": (254, 27),
    "fanotify_mark": (301, 263),
    "lookup_dcookie": (212, 18),
    "vhangup": (153, 58),
    "nfsservctl": (180, 42),
    # the kernel's key rings
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # file systems, and ways around what Landlock sees
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": PIVOT_ROOT,
    "chroot": (161, 51),
    "move_mount": MOVE_MOUNT,
    "open_tree": OPEN_TREE,
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": MOUNT_SETATTR,
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    # namespaces, and the kernel itself
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, None),
    "ioperm": (173, None),
    "syslog": (103, 116),
}

# Calls that libraries may try without harm, and must do without, with the error that each gives.
REFUSED: Mapping[str, tuple[int | None, int | None, int]] = {
    # Answered as by a kernel without it, libc makes its threads by clone, whose flags can be read.
    "clone3": (435, 435, errno.ENOSYS),
    # memory that no limit counts
    "memfd_create": (319, 279, errno.ENOSYS),
    "memfd_secret": (447, 447, errno.ENOSYS),
    "shmget": (29, 194, errno.EPERM),
    "shmat": (30, 196, errno.EPERM),
    "msgget": (68, 186, errno.EPERM),
    "semget": (64, 190, errno.EPERM),
    "mq_open": (240, 180, errno.EPERM),
    # limits, also of the superuser
    "setrlimit": (160, 164, errno.EPERM),
    # how processes are scheduled, also others of the same user; onnxruntime binds its threads to
    # cores where it can
    "sched_setaffinity": (203, 122, errno.EPERM),
    "sched_setscheduler": (144, 119, errno.EPERM),
    "sched_setparam": (142, 118, errno.EPERM),
    "sched_setattr": (314, 274, errno.EPERM),
    "setpriority": (141, 140, errno.EPERM),
    "ioprio_set": (251, 30, errno.EPERM),
    # out of the process group that is ended together
    "setsid": (112, 157, errno.EPERM),
    "setpgid": (109, 154, errno.EPERM),
    # what Landlock does not watch
    "chmod": (90, None, errno.EPERM),
    "fchmod": (91, 52, errno.EPERM),
    "fchmodat": (268, 53, errno.EPERM),
    "fchmodat2": (452, 452, errno.EPERM),
    "chown": (92, None, errno.EPERM),
    "lchown": (94, None, errno.EPERM),
    "fchown": (93, 55, errno.EPERM),
    "fchownat": (260, 54, errno.EPERM),
    "utime": (132, None, errno.EPERM),
    "utimes": (235, None, errno.EPERM),
    "futimesat": (261, None, errno.EPERM),
    "utimensat": (280, 88, errno.EPERM),
    "setxattr": (188, 5, errno.EPERM),
    "lsetxattr": (189, 6, errno.EPERM),
    "fsetxattr": (190, 7, errno.EPERM),
    "removexattr": (197, 14, errno.EPERM),
    "lremovexattr": (198, 15, errno.EPERM),
    "fremovexattr": (199, 16, errno.EPERM),
}


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
    "x86_64": Machine(0xC000003E, X86_64),
    "aarch64": Machine(0xC00000B7, AARCH64),
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
    number = ctypes.c_long(SECCOMP[here.column])
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
    4. A call in `FATAL` ends it; a call in `REFUSED` or newer than `NEWEST` fails. The rest goes
       on.
    """
    column = here.column
    # 1.
    code = [
        _step(_LOAD, _ARCH),
        _step(_EQUAL, here.arch, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NR),
    ]
    if column == X86_64:
        code += [_step(_AT_LEAST, _X32_BIT, 0, 1), _step(_RETURN, _KILL)]
    # 2.
    code += _unless(CLONE[column], 0, _step(_ANY_BIT, _CLONE_THREAD, 0, 1), _KILL)
    code += _unless(TGKILL[column], 0, _step(_EQUAL, pid, 0, 1), _KILL)
    # 3. The first argument is the process, 0 for the caller; the third, a pointer to new limits,
    # must be null in both halves.
    prlimit = PRLIMIT[column]
    code += _oneself_only(prlimit, pid)
    code += _null_only(prlimit, 2)
    # 4.
    for fatal in FATAL.values():
        code += _on(fatal[column], _KILL)
    for refused in REFUSED.values():
        code += _on(refused[column], _ERRNO | refused[2])
    code += [_step(_ABOVE, NEWEST, 0, 1), _step(_RETURN, _ERRNO | errno.ENOSYS)]
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
        # The instructions that follow look at the call's number.
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
