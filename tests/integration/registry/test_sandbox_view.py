"""A compromised worker learns nothing of files that it may not read, not even a name."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from registry.sandbox import process
from registry.sandbox.confinement import SandboxLimits
from sealgate.reasons import Reason, SealgateError
from tests.support.harness.processes import hostile_tasks, namespaces, plain_user

ROOT = Path(__file__).parents[3]
LIMITS = SandboxLimits(memory=4 << 30, scratch=32 << 20, seconds=60, threads=16)
needs_namespaces = pytest.mark.skipif(
    not namespaces.allowed(), reason="this system allows no user or mount namespaces"
)


@pytest.fixture(autouse=True)
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    shutil.copy(Path(hostile_tasks.__file__), folder / "hostile_tasks.py")
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder as an installation's, beside what a worker may read."""
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "registry.key").write_text("secret")
    return folder


def run(task: str, request: bytes = b"") -> bytes:
    with process.start(f"hostile_tasks:{task}", request, LIMITS) as worker:
        answer = worker.receive(1 << 20)
        worker.finish()
        assert worker.missing == ()
    return answer


def refusal(task: str, request: bytes = b"") -> SealgateError:
    with pytest.raises(SealgateError) as refused:
        run(task, request)
    return refused.value


def found(*paths: Path | str) -> list[str]:
    request = json.dumps([str(path) for path in paths]).encode()
    return list(json.loads(run("find_files", request)))


@needs_namespaces
def test_other_files_have_no_names(keys: Path) -> None:
    inside = keys.relative_to("/")
    paths = (keys, keys / "registry.key", "/etc/passwd", "/root/.ssh", "/proc/self", "/proc/1")
    climbing = [f"{'../' * depth}{inside}" for depth in range(8)]
    climbing += [f"/..{keys}", f"{process.__file__}/../../../pyproject.toml"]
    assert all(map(os.path.exists, (keys / "registry.key", "/etc/passwd", "/proc/self")))
    assert found(*paths, *climbing, ROOT / "pyproject.toml", ROOT / ".git") == []


@needs_namespaces
def test_nothing_can_be_listed_or_made_beside_the_scratch_folder(keys: Path) -> None:
    for folder in ("/", "/etc", "/proc", keys.parent, ROOT):
        assert refusal("list_folder", str(folder).encode()).reason is Reason.WORKER_FORBIDDEN
    for path in ("/new", "/etc/new", keys.parent / "new", Path(process.__file__)):
        assert refusal("write_file", str(path).encode()).reason is Reason.WORKER_FORBIDDEN
    assert run("use_scratch", b"mine") == b"mine"


@needs_namespaces
def test_links_among_libraries_lead_where_they_did(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "release-5").mkdir()
    tasks.rename(tmp_path / "release-5" / "site-packages")
    (tmp_path / "current").symlink_to("release-5")
    monkeypatch.syspath_prepend(tmp_path / "current" / "site-packages")
    names = [tmp_path / name / "site-packages" for name in ("current", "release-5")]
    assert found(*names) == [str(name) for name in names]


@needs_namespaces
def test_code_that_is_found_by_the_path_alone_is_imported(tmp_path: Path) -> None:
    """The folder of our packages is not listed in the worker, and nothing is installed there."""
    code = tmp_path / "code"
    for name in ("sealgate", "registry"):
        shutil.copytree(ROOT / name, code / name)
    for name in ("inference", "inference/runtime", "publishing"):
        (code / name).mkdir()
        shutil.copy(ROOT / name / "__init__.py", code / name)
    shutil.copy(Path(hostile_tasks.__file__), code / "publishing" / "tasks.py")
    script = "\n".join(
        (
            "from registry.sandbox import process",
            f"limits = process.{LIMITS!r}",
            "with process.start('publishing.tasks:echo', b'heard', limits) as worker:",
            "    print(worker.receive(100).decode())",
            "    worker.finish()",
        )
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(code)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("heard\n", 0), done.stderr


@needs_namespaces
def test_the_kernel_refuses_a_thread_too_many() -> None:
    assert run("burst_into_threads") == str(LIMITS.threads).encode()
    refused = refusal("start_many_threads")
    assert (refused.reason, refused.detail) == (Reason.WORKER_LIMIT, "the number of threads")


@needs_namespaces
def test_a_worker_cannot_take_another_user() -> None:
    for user in (0, 1, 65534):
        assert refusal("become", str(user).encode()).reason is Reason.WORKER_FAILED


@pytest.mark.parametrize(
    ("call", "missing"),
    [
        ("unshare", ("names and sizes of other files", "threads are counted from outside")),
        *((call, ("names and sizes of other files",)) for call in ("mount", "open_tree")),
        *((call, ("names and sizes of other files",)) for call in ("mount_setattr", "move_mount")),
        *((call, ("names and sizes of other files",)) for call in ("pivot_root", "umount2")),
    ],
)
def test_a_worker_without_namespaces_works_and_says_so(
    tasks: Path, call: str, missing: tuple[str, ...]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.harness.processes.older_kernel", call, "safe"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tasks)])},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "heard"
    assert [line for line in done.stderr.splitlines() if "confined less" in line]
    for text in missing:
        assert text in done.stderr


@needs_namespaces
def test_a_user_who_is_not_root_has_the_same_view(keys: Path) -> None:
    secret = str(keys / "registry.key")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.support.harness.processes.plain_user",
            secret,
            "/etc/passwd",
            "/usr/lib",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {
        "missing": [],
        "seen": ["/usr/lib"],
        "written": "mine",
        "threads": plain_user.THREADS,
    }
