"""A worker that was taken over: whatever it tries, it is ended or refused with its reason."""

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.sandbox import frames, process
from registry.sandbox.confinement import SandboxLimits
from sealgate.reasons import Reason, SealgateError
from tests.support.harness.processes import hostile_tasks

SMALL = SandboxLimits(memory=2 << 30, scratch=32 << 20, seconds=60)


@pytest.fixture(autouse=True)
def _tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tasks lie where libraries do: nothing else beside the libraries can be read."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    shutil.copy(Path(hostile_tasks.__file__), folder / "hostile_tasks.py")
    monkeypatch.syspath_prepend(folder)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "key.pem"
    path.write_text("secret")
    return path


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def run(
    task: str, request: bytes = b"", limits: SandboxLimits = SMALL, most: int = 1 << 20
) -> bytes:
    with process.start(f"hostile_tasks:{task}", request, limits) as worker:
        answer = worker.receive(most)
        worker.finish()
    return answer


def refusal(task: str, request: bytes = b"", limits: SandboxLimits = SMALL) -> SealgateError:
    with pytest.raises(SealgateError) as refused:
        run(task, request, limits)
    return refused.value


def test_a_task_that_only_works_is_heard_out() -> None:
    assert run("echo", b"\x00\xff" * 1000) == b"\x00\xff" * 1000
    assert run("work_in_threads") == bytes(range(4))


def test_too_much_memory_is_refused() -> None:
    assert refusal("allocate").reason is Reason.WORKER_LIMIT


def test_what_never_ends_is_refused() -> None:
    limits = SandboxLimits(memory=2 << 30, seconds=5)
    for task in ("spin", "sleep"):
        begun = time.monotonic()
        assert refusal(task, limits=limits).reason is Reason.WORKER_LIMIT
        assert time.monotonic() - begun < 60


def test_too_many_or_too_large_files_are_refused() -> None:
    tasks = ("fill_scratch", "write_one_large_file", "make_empty_files", "nest_folders")
    for task in tasks:
        assert refusal(task).reason is Reason.WORKER_LIMIT, task


@pytest.mark.parametrize("task", ["connect", "connect_in_a_thread"])
def test_the_network_is_out_of_reach(listener: socket.socket, task: str) -> None:
    port = str(listener.getsockname()[1]).encode()
    assert refusal(task, port).reason is Reason.WORKER_FORBIDDEN
    listener.settimeout(0.2)
    with pytest.raises(TimeoutError):
        listener.accept()


def test_local_sockets_are_out_of_reach(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        asked = str(tmp_path / "socket").encode()
        assert refusal("connect_to_a_path", asked).reason is Reason.WORKER_FORBIDDEN


def test_files_of_others_cannot_be_read(secret: Path) -> None:
    for task, path in (
        ("read_file", secret),
        ("read_file", Path("/etc/passwd")),
        ("list_folder", secret.parent),
        ("list_folder", Path(__file__).parents[3]),
        ("list_folder", Path.home()),
    ):
        assert refusal(task, str(path).encode()).reason is Reason.WORKER_FORBIDDEN, path


def test_files_of_others_cannot_be_written(secret: Path) -> None:
    for path in (secret, secret.parent / "new", Path(process.__file__)):
        assert refusal("write_file", str(path).encode()).reason is Reason.WORKER_FORBIDDEN, path
    assert refusal("change_mode", str(secret).encode()).reason is Reason.WORKER_FORBIDDEN
    assert secret.read_text() == "secret"


@pytest.mark.parametrize("task", ["fork_bomb", "start_program", "replace_itself"])
def test_no_process_is_started(task: str) -> None:
    assert refusal(task).reason is Reason.WORKER_FORBIDDEN


@pytest.mark.parametrize("task", ["signal_parent", "trace_parent", "read_parent_environment"])
def test_its_parent_is_out_of_reach(task: str) -> None:
    assert refusal(task).reason is Reason.WORKER_FORBIDDEN


@pytest.mark.parametrize(
    "task",
    [
        "reschedule_parent",
        "reschedule_by_parameter",
        "slow_parent",
        "bind_parent_to_a_core",
        "slow_parent_s_disk",
        "limit_parent",
        "leave_the_group",
    ],
)
def test_its_parent_s_scheduling_and_limits_are_out_of_reach(task: str) -> None:
    def scheduling() -> tuple[object, ...]:
        return (
            os.sched_getscheduler(0),
            os.getpriority(os.PRIO_PROCESS, 0),
            os.sched_getaffinity(0),
        )

    before = scheduling()
    assert refusal(task).reason is Reason.WORKER_FORBIDDEN
    assert scheduling() == before


def test_files_cannot_be_watched() -> None:
    assert refusal("watch_files").reason is Reason.WORKER_FORBIDDEN


def test_too_many_threads_are_refused() -> None:
    limits = SandboxLimits(memory=4 << 30, seconds=60, threads=16)
    refused = refusal("start_many_threads", limits=limits)
    assert refused.reason is Reason.WORKER_LIMIT
    assert "threads" in refused.detail


def test_limits_cannot_be_raised() -> None:
    assert refusal("raise_limits").reason is Reason.WORKER_FAILED


@pytest.mark.parametrize("task", ["crash", "exhaust_the_stack", "leave_early", "close_output"])
def test_what_ends_early_has_failed(task: str) -> None:
    assert refusal(task).reason is Reason.WORKER_FAILED


HEAD = struct.Struct(">cQ")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"garbage that is no frame at all",
        HEAD.pack(b"D", 10) + b"short",
        HEAD.pack(b"D", 2**63) + b"endless",
        HEAD.pack(b"D", (1 << 20) + 1) + bytes((1 << 20) + 1),
        HEAD.pack(b"X", 0),
        HEAD.pack(b"R", 5000) + bytes(5000),
        HEAD.pack(b"R", 9) + b"not JSON!",
        HEAD.pack(b"R", 2) + b"{}",
        HEAD.pack(b"E", 0),
        HEAD.pack(b"E", 3) + b"end",
        HEAD.pack(b"D", 2) + b"ok",
        HEAD.pack(b"D", 2) + b"ok" + HEAD.pack(b"D", 0),
    ],
)
def test_garbage_is_refused(raw: bytes) -> None:
    assert refusal("write_raw", raw).reason is Reason.WORKER_FAILED


def test_a_worker_that_says_more_than_asked_is_refused() -> None:
    assert refusal("say_too_much", b"twice").reason is Reason.WORKER_FAILED


def test_a_worker_that_holds_back_half_an_answer_is_ended() -> None:
    limits = SandboxLimits(memory=2 << 30, seconds=5)
    raw = HEAD.pack(b"D", 100) + b"half"
    assert refusal("write_and_stay", raw, limits).reason is Reason.WORKER_LIMIT


def test_a_worker_has_no_say_on_other_reasons() -> None:
    told = b'{"detail":"\\u001b[2J","reason":"TOKEN_EXPIRED"}'
    refused = refusal("write_raw", HEAD.pack(frames.REFUSAL, len(told)) + told)
    assert (refused.reason, refused.detail) == (Reason.WORKER_FAILED, "?[2J")


def test_nothing_is_inherited(monkeypatch: pytest.MonkeyPatch, secret: Path) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with secret.open() as opened:
        os.set_inheritable(opened.fileno(), True)
        found = json.loads(run("describe"))
    assert not {"AWS_SECRET_ACCESS_KEY", "PATH"} & set(found["environment"])
    assert len(found["descriptors"]) == 4  # request, nowhere twice, answers
    assert found["capabilities"] == [0] * 6
    assert found["limits"] == {
        "AS": SMALL.memory,
        "CORE": 0,
        "CPU": SMALL.seconds,
        "FSIZE": SMALL.scratch,
        "NOFILE": 64,
    }


@pytest.mark.parametrize("call", ["landlock", "seccomp"])
def test_where_it_cannot_be_shut_in_nothing_runs(call: str, tmp_path: Path) -> None:
    def told(unsafe: str) -> str:
        root = Path(__file__).parents[3]
        path = os.pathsep.join([str(root), str(tmp_path / "site-packages")])
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.harness.processes.older_kernel", call, unsafe],
            env={**os.environ, "PYTHONPATH": path},
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    assert told("safe") == "WORKER_UNCONFINED"
    assert told("unsafe") == "heard"


def test_a_worker_is_gone_when_its_caller_gives_up() -> None:
    with process.start("hostile_tasks:sleep", b"", SMALL) as worker:
        assert worker.process.poll() is None
    assert worker.process.returncode == -signal.SIGKILL
    assert not [thread for thread in threading.enumerate() if thread.name == "worker-watch"]


def test_a_worker_that_nobody_can_watch_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    class Started(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **given: Any) -> None:
            super().__init__(*args, **given)
            started.append(self)

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(subprocess, "Popen", Started)
    monkeypatch.setattr(threading.Thread, "start", start)
    with (
        pytest.raises(OSError, match="new thread"),
        process.start("hostile_tasks:sleep", b"", SMALL),
    ):
        pass
    assert [each.returncode for each in started] == [-signal.SIGKILL]
