"""The worker's filter, run step by step as the kernel would, for both machines that it knows."""

import errno
import platform
import re
import struct
from pathlib import Path

import pytest

from registry.sandbox import syscalls
from registry.sandbox.confinement import confine_calls
from sealgate.reasons import Reason, SealgateError
from tests.support.oracles import programs

PID = 4242
KILL, ALLOW, X32 = 0x80000000, 0x7FFF0000, 0x40000000
MACHINES = {
    "x86_64": syscalls.Machine(0xC000003E, syscalls.X86_64),
    "aarch64": syscalls.Machine(0xC00000B7, syscalls.AARCH64),
}
HARMLESS = {"read": (0, 63), "openat": (257, 56), "mmap": (9, 222), "futex": (202, 98)}
# How others are scheduled, whose files change, which group a process is ended with.
OF_OTHERS = {
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "sched_setaffinity": (203, 122),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "prlimit64": (302, 261),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "inotify_add_watch": (254, 27),
    "fanotify_mark": (301, 263),
    "setpgid": (109, 154),
    "setsid": (112, 157),
}
HEADERS = {
    "x86_64": programs.X86_64_HEADER,
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def refused(error: int) -> int:
    return 0x00050000 | error


def verdict(here: syscalls.Machine, number: int, *arguments: int, arch: int | None = None) -> int:
    """Return the filter's verdict on one system call."""
    code = list(struct.iter_unpack("=HBBI", syscalls.program(here, PID)))
    padded = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("<IIQ6Q", number, here.arch if arch is None else arch, 0, *padded)
    at = loaded = 0
    while True:
        kind, if_true, if_false, value = code[at]
        at += 1
        if kind == 0x20:
            (loaded,) = struct.unpack_from("<I", data, value)
            continue
        if kind == 0x06:
            return value
        holds = {
            0x15: loaded == value,
            0x25: loaded > value,
            0x35: loaded >= value,
            0x45: bool(loaded & value),
        }[kind]
        at += if_true if holds else if_false


@pytest.fixture(params=sorted(MACHINES))
def here(request: pytest.FixtureRequest) -> syscalls.Machine:
    return MACHINES[request.param]


def test_what_computing_needs_goes_on(here: syscalls.Machine) -> None:
    for numbers in HARMLESS.values():
        assert verdict(here, numbers[here.column]) == ALLOW


def test_every_listed_call_ends_or_fails(here: syscalls.Machine) -> None:
    for name, fatal in syscalls.FATAL.items():
        number = fatal[here.column]
        assert number is None or verdict(here, number) == KILL, name
    for name, entry in syscalls.REFUSED.items():
        number = entry[here.column]
        assert number is None or verdict(here, number) == refused(entry[2]), name


def test_clone_makes_threads_and_nothing_else(here: syscalls.Machine) -> None:
    clone = syscalls.CLONE[here.column]
    assert verdict(here, clone, 0x3D0F00) == ALLOW
    assert verdict(here, clone, 17) == KILL
    # The high half of the flags says nothing about threads.
    assert verdict(here, clone, 0x10000 << 32) == KILL


def test_signals_reach_the_process_itself_alone(here: syscalls.Machine) -> None:
    assert verdict(here, syscalls.TGKILL[here.column], PID, PID, 6) == ALLOW
    assert verdict(here, syscalls.TGKILL[here.column], PID + 1, PID + 1, 6) == KILL


def test_limits_are_read_and_not_set(here: syscalls.Machine) -> None:
    prlimit = syscalls.PRLIMIT[here.column]
    assert verdict(here, prlimit, 0, 7, 0, 0x7F00_0000_1000) == ALLOW
    assert verdict(here, prlimit, PID, 7, 0, 0x7F00_0000_1000) == ALLOW
    assert verdict(here, prlimit, PID + 1, 7, 0, 0x7F00_0000_1000) == refused(errno.EPERM)
    for pointer in (0x1000, 0x7F00_0000_0000):
        assert verdict(here, prlimit, 0, 7, pointer) == refused(errno.EPERM)


@pytest.mark.parametrize("call", sorted(OF_OTHERS))
def test_what_reaches_other_processes_does_not_get_through(
    here: syscalls.Machine, call: str
) -> None:
    number = OF_OTHERS[call][here.column]
    assert number is None or verdict(here, number, PID + 1) in (KILL, refused(errno.EPERM))


def test_other_architectures_and_newer_calls_do_not_get_through(here: syscalls.Machine) -> None:
    read = HARMLESS["read"][here.column]
    assert verdict(here, read, arch=0x40000003) == KILL
    assert verdict(here, syscalls.NEWEST + 1) == refused(errno.ENOSYS)
    by_x32 = KILL if here.column == syscalls.X86_64 else refused(errno.ENOSYS)
    assert verdict(here, X32 | read) == by_x32


@pytest.mark.parametrize("name", sorted(HEADERS))
def test_numbers_are_those_of_the_kernels_headers(name: str) -> None:
    text = programs.header(HEADERS[name])
    known = {
        found[1]: int(found[2]) for found in re.finditer(r"#define __NR(?:3264)?_(\w+) (\d+)", text)
    }
    column = MACHINES[name].column
    listed = {each: numbers[column] for each, numbers in syscalls.FATAL.items()}
    listed |= {each: entry[column] for each, entry in syscalls.REFUSED.items()}
    listed |= {
        "clone": syscalls.CLONE[column],
        "prlimit64": syscalls.PRLIMIT[column],
        "tgkill": syscalls.TGKILL[column],
        "seccomp": syscalls.SECCOMP[column],
        "capset": syscalls.CAPSET[column],
    }
    for call, number in listed.items():
        if number is None:
            assert call not in known, call
        elif call in known:
            assert known[call] == number, call


def test_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(SealgateError) as refusal:
        confine_calls()
    assert refusal.value.reason is Reason.WORKER_UNCONFINED
