"""Tasks for a worker that do what a model that took it over would: each runs shut in, as any does.

Each takes a request and a way to send, and imports what it needs itself: a test copies this file
to where a worker can read it, alone.
"""

import ctypes
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

Send = Callable[[bytes], None]


def echo(request: bytes, send: Send) -> None:
    send(request)


def allocate(request: bytes, send: Send) -> None:
    kept = []
    while True:
        kept.append(bytearray(64 << 20))


def spin(request: bytes, send: Send) -> None:
    while True:
        pass


def sleep(request: bytes, send: Send) -> None:
    time.sleep(3600)


def fill_scratch(request: bytes, send: Send) -> None:
    for number in range(10**6):
        Path(os.environ["TMPDIR"], str(number)).write_bytes(bytes(1 << 20))


def make_empty_files(request: bytes, send: Send) -> None:
    for number in range(10**6):
        Path(os.environ["TMPDIR"], str(number)).touch()
    time.sleep(3600)


def nest_folders(request: bytes, send: Send) -> None:
    os.chdir(os.environ["TMPDIR"])
    for _ in range(5000):
        os.mkdir("d")
        os.chdir("d")
    time.sleep(3600)


def write_one_large_file(request: bytes, send: Send) -> None:
    with open(Path(os.environ["TMPDIR"], "large"), "wb") as file:
        while True:
            file.write(bytes(1 << 20))


def connect(request: bytes, send: Send) -> None:
    socket.create_connection(("127.0.0.1", int(request)), timeout=5)


def connect_to_a_path(request: bytes, send: Send) -> None:
    with socket.socket(socket.AF_UNIX) as plug:
        plug.connect(request.decode())


def connect_in_a_thread(request: bytes, send: Send) -> None:
    thread = threading.Thread(target=connect, args=(request, send))
    thread.start()
    thread.join()


def read_file(request: bytes, send: Send) -> None:
    send(Path(request.decode()).read_bytes())


def list_folder(request: bytes, send: Send) -> None:
    send("\n".join(os.listdir(request.decode())).encode())


def find_files(request: bytes, send: Send) -> None:
    """Which of the paths there is anything at."""
    found = [path for path in json.loads(request) if os.path.lexists(path)]
    send(json.dumps(found).encode())


def use_scratch(request: bytes, send: Send) -> None:
    path = Path(os.environ["TMPDIR"], "mine")
    path.write_bytes(request)
    send(path.read_bytes())


def write_file(request: bytes, send: Send) -> None:
    Path(request.decode()).write_bytes(b"mine")


def change_mode(request: bytes, send: Send) -> None:
    os.chmod(request.decode(), 0o644)


def fork_bomb(request: bytes, send: Send) -> None:
    while True:
        os.fork()


def start_program(request: bytes, send: Send) -> None:
    subprocess.run(["/bin/true"], check=True)


def replace_itself(request: bytes, send: Send) -> None:
    os.execv("/bin/true", ["true"])  # noqa: S606


def signal_parent(request: bytes, send: Send) -> None:
    os.kill(os.getppid(), signal.SIGTERM)


def trace_parent(request: bytes, send: Send) -> None:
    ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0)


def read_parent_environment(request: bytes, send: Send) -> None:
    send(Path(f"/proc/{os.getppid()}/environ").read_bytes())


def reschedule_parent(request: bytes, send: Send) -> None:
    os.sched_setscheduler(os.getppid(), os.SCHED_IDLE, os.sched_param(0))


def reschedule_by_parameter(request: bytes, send: Send) -> None:
    os.sched_setparam(os.getppid(), os.sched_param(0))


def slow_parent(request: bytes, send: Send) -> None:
    os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)


def bind_parent_to_a_core(request: bytes, send: Send) -> None:
    os.sched_setaffinity(os.getppid(), {0})


def slow_parent_s_disk(request: bytes, send: Send) -> None:
    # The class of those who wait for all others, of one process.
    _call(251, 30, 1, os.getppid(), 3 << 13)


def limit_parent(request: bytes, send: Send) -> None:
    resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE)


def watch_files(request: bytes, send: Send) -> None:
    ctypes.CDLL(None).inotify_init1(0)


def start_many_threads(request: bytes, send: Send) -> None:
    threading.stack_size(32 << 10)
    while True:
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()


def burst_into_threads(request: bytes, send: Send) -> None:
    """As many threads as it gets, and how many those are, with the first."""
    threading.stack_size(32 << 10)
    try:
        while True:
            threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    except RuntimeError:
        send(str(threading.active_count()).encode())


def become(request: bytes, send: Send) -> None:
    """Takes another user."""
    user = int(request)
    os.setresuid(user, user, user)


def leave_the_group(request: bytes, send: Send) -> None:
    os.setpgid(0, 0)


def _call(x86_64: int, aarch64: int, *arguments: int) -> None:
    """A system call for which there is no function. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = x86_64 if os.uname().machine == "x86_64" else aarch64
    if libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)) < 0:
        raise OSError(ctypes.get_errno(), "refused")


def raise_limits(request: bytes, send: Send) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def crash(request: bytes, send: Send) -> None:
    ctypes.string_at(0)


def exhaust_the_stack(request: bytes, send: Send) -> None:
    exhaust_the_stack(request, send)


def leave_early(request: bytes, send: Send) -> None:
    os._exit(0)


def write_raw(request: bytes, send: Send) -> None:
    """Writes to the pipe past all code of ours."""
    os.write(_pipe(), request)
    os._exit(0)


def write_and_stay(request: bytes, send: Send) -> None:
    os.write(_pipe(), request)
    time.sleep(3600)


def close_output(request: bytes, send: Send) -> None:
    os.close(_pipe())
    time.sleep(3600)


def say_too_much(request: bytes, send: Send) -> None:
    send(request)
    send(request)


def work_in_threads(request: bytes, send: Send) -> None:
    done: list[int] = []
    threads = [threading.Thread(target=done.append, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    send(bytes(sorted(done)))


def describe(request: bytes, send: Send) -> None:
    """Sends its findings about its environment."""
    soft = {
        name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[0]
        for name in ("AS", "CORE", "CPU", "FSIZE", "NOFILE")
    }
    found = {
        "environment": sorted(os.environ),
        "descriptors": sorted(_descriptors()),
        "limits": soft,
        "arguments": sys.argv[1:],
        "capabilities": _capabilities(),
    }
    send(json.dumps(found).encode())


def _capabilities() -> list[int]:
    head, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    ctypes.CDLL(None).capget(head, data)
    return list(data)


def _descriptors() -> list[int]:
    found = []
    for number in range(64):
        try:
            os.fstat(number)
        except OSError:
            continue
        found.append(number)
    return found


def _pipe() -> int:
    """The way out: the only descriptor beside the standard ones."""
    return max(_descriptors())
