"""Confines a worker: removes, permanently, every right that its task does not need.

That is done in two steps, and both come before a byte of the model is read: files first, since
namespaces and Landlock hold for one thread and those that it starts, and onnxruntime starts one
when it is imported; then, with everything imported, system calls.

Containers and services often allow no namespaces. Where they are denied, a worker runs without
them, and says what it lacks; Landlock and seccomp it must have.
"""

import ctypes
import importlib
import os
import resource
import signal
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import astuple, dataclass, field
from pathlib import Path

from registry.sandbox import file_access, syscalls
from sealgate.reasons import Reason, SealgateError

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CAPABILITY_VERSION_3 = 0x20080522
_NOBODY = 65534
# Libraries that are loaded late, and what tells onnxruntime about this machine.
_SYSTEM = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache"),
    *("/proc/cpuinfo", "/sys/devices", "/sys/bus/pci", "/sys/class/drm", "/dev/urandom"),
)
_OURS = ("sealgate", "registry", "inference", "publishing", "generation")


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """The resources of a worker: bytes of memory (address space) and of scratch files, seconds,
    open files, threads. `niceness` is by how much it lets others go first.

    The kernel counts threads where the worker has a user namespace of its own. Elsewhere they are
    counted from outside, many times a second, and a worker that has more is ended. `seconds` is
    time by the clock, and of one processor as well.
    """

    memory: int = 8 << 30
    scratch: int = 8 << 30
    seconds: int = 900
    files: int = 64
    niceness: int = 0
    threads: int = 256

    @classmethod
    def parse(cls, text: str) -> "SandboxLimits":
        """Read what `str` writes."""
        return cls(*map(int, text.split(",")))

    def __str__(self) -> str:
        return ",".join(map(str, astuple(self)))


def confine_files(limits: SandboxLimits, scratch: Path, unsafe: bool = False) -> list[str]:
    """Bound this process; it can write files beneath `scratch` alone. Returns what is missing.

    1. It has no other thread, which would stay as it is.
    2. Other files have no names (a mount namespace). The kernel counts threads (a user namespace).
    3. It ends with its parent; nothing of it can be dumped or traced.
    4. It can gain no privileges, and has none.
    5. Memory, processor time, files: bounded.
    6. Files: read-only to Python's libraries, read-write to `scratch`, nothing else (Landlock).

    It goes on without step 2 where the system denies it. Raises WORKER_UNCONFINED where another
    cannot be had; with `unsafe`, goes on without that too.
    """
    readable = _readable()
    steps = (
        _Step(file_access.check_one_thread),  # 1.
        _Step(
            lambda: file_access.enter(readable, scratch), "names and sizes of other files are seen"
        ),  # 2.
        _Step(lambda: _count_threads(limits), "threads are counted from outside"),
        _Step(_bind_to_parent),  # 3.
        _Step(_drop_privileges),  # 4.
        _Step(lambda: _set_limits(limits)),  # 5.
        _Step(lambda: file_access.restrict(readable, [scratch])),  # 6.
    )
    return [missing for step in steps for missing in step.take(unsafe)]


def confine_calls(unsafe: bool = False) -> list[str]:
    """No network, no new processes, no signals to others (seccomp). Raises as above."""
    return _Step(syscalls.install).take(unsafe)


@dataclass(frozen=True, slots=True)
class _Step:
    """`without` says what follows where a step is not taken; empty for one that must be taken."""

    run: Callable[[], None]
    without: str = ""

    def take(self, unsafe: bool) -> list[str]:
        """Returns what is missing after it, if anything."""
        try:
            self.run()
        except (OSError, ValueError, AttributeError) as error:
            if not (self.without or unsafe):
                raise SealgateError(Reason.WORKER_UNCONFINED, str(error)) from error
            reason = getattr(error, "strerror", None) or str(error)
            return [f"{self.without} ({reason})" if self.without else reason]
        return []


def _count_threads(limits: SandboxLimits) -> None:
    """Have the kernel refuse a thread too many. Raises OSError where it would not count them.

    RLIMIT_NPROC counts by real user and user namespace, and does not bind the superuser. So the
    superuser takes another real user; the effective one, to whom the files belong, stays.
    """
    if os.getuid() == 0:
        os.setresuid(_NOBODY, 0, 0)
    file_access.new_user_namespace()
    _set_limit(resource.RLIMIT_NPROC, limits.threads, limits.threads)


def _bind_to_parent() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(_PR_SET_DUMPABLE, 0)


def _drop_privileges() -> None:
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    head = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    number = ctypes.c_long(syscalls.CAPSET[syscalls.machine().column])
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, ctypes.byref(head), ctypes.byref(none)) != 0:
        raise OSError(ctypes.get_errno(), "capabilities cannot be dropped")


def _set_limits(limits: SandboxLimits) -> None:
    for kind, most in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_FSIZE, limits.scratch),
        (resource.RLIMIT_NOFILE, limits.files),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        _set_limit(kind, most, most)
    if limits.niceness:
        os.nice(limits.niceness)
    # The first second too much brings a signal that says what it was for.
    _set_limit(resource.RLIMIT_CPU, limits.seconds, limits.seconds + 1)


def _set_limit(kind: int, soft: int, hard: int) -> None:
    """Sets a limit, or leaves one that is lower already."""
    _, present = resource.getrlimit(kind)
    if present != resource.RLIM_INFINITY:
        soft, hard = min(soft, present), min(hard, present)
    resource.setrlimit(kind, (soft, hard))


def _readable() -> list[Path]:
    """Return the folders of libraries and of our own packages, but not what lies beside them."""
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    paths = [sysconfig.get_path(kind) for kind in kinds] + [sysconfig.get_config_var("LIBDIR")]
    paths += [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    # Imported while their folder can be listed: afterwards only what is loaded is found by name.
    ours = [path for name in _OURS for path in importlib.import_module(name).__path__]
    return [Path(path) for path in (*paths, *ours, *_SYSTEM) if path]


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), *(ctypes.c_ulong(0),) * 3) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def silence(nowhere: int) -> None:
    """From here on, what libraries print goes to `nowhere`, and no terminal is left open."""
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)


@dataclass(frozen=True, slots=True)
class Confinement:
    """How the worker is confined; with `unsafe` it also runs if this system cannot confine it."""

    limits: SandboxLimits = field(default_factory=SandboxLimits)
    unsafe: bool = False
