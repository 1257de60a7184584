"""Hostile uploads beside honest answers: the longest of 10,000 answers, and how much memory.

A publisher uploads files that take far more to read than to send, over and over, with a signature
that verifies or one over other files, while 32 honest requests are in flight. Gateway, callers and
publisher are processes on one machine; without an upload the same callers are measured first and
last. Memory is what the gateway and its workers have together, above the most without an upload.
The files are of several kinds; none is ever registered.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc

from benchmarks.holes.honest_answers import Answers, Callers
from benchmarks.processes import children, read_proc, status_kb
from benchmarks.report import Target
from sealgate.remote import Profile, connect, reason_name_of
from sealgate.remote.uploads import Package, Uploader, UploadLimits
from sealgate.trust.canonical import sha256
from sealgate.trust.keys import load_private_key
from sealgate.trust.statements import FileEntry, Manifest, oms
from sealgate.v1 import upload_pb2
from sealgate.v1.upload_pb2_grpc import UploadServiceStub
from tests.support.builders.packages import commit
from tests.support.builders.protobuf import field
from tests.support.harness.gateway import GatewayHarness
from tests.support.harness.processes.gateway_process import GatewayProcess

_ANSWERS = 10_000
_MOST_BEYOND_MS, _MOST_MORE_MB = 100.0, 200.0
_NOBODY = "nobody uploads"
_SAMPLE_SECONDS = 0.02
MB = 1 << 20
# An IR version, and a graph (field 7) with one empty node (field 1), but no operator set.
_HEAD = b"\x08\x08\x3a\x02\x0a\x00"


def measure(answers: int = _ANSWERS) -> list[dict[str, Any]]:
    """A row for each kind of file and signature, after two without an upload."""
    with TemporaryDirectory() as folder, _serving(Path(folder) / "state") as (harness, gateway):
        rows: list[dict[str, Any]] = []

        def add(kind: str, signature: str, package: Package | None) -> None:
            rows.append(_row(kind, signature, *_measured(harness, gateway, package, answers)))
            print(rows[-1], flush=True)

        for _ in range(2):
            add(_NOBODY, "", None)
        for number, kind in enumerate(KINDS):
            paths = write_hostile(kind, Path(folder) / str(number))
            for signature in ("valid", "invalid"):
                add(kind, signature, _package(harness, paths, valid=signature == "valid"))
            for path in paths.values():
                path.unlink()
    # The lesser of two: a pause of the machine among them would hide one of the gateway.
    longest = min(row["longest_ms"] for row in rows if row["kind"] == _NOBODY)
    memory = max(row["memory_mb"] for row in rows if row["kind"] == _NOBODY)
    for row in rows:
        row["beyond_ms"] = round(row["longest_ms"] - longest, 1)
        row["more_mb"] = round(row["memory_mb"] - memory, 1)
    return rows


def targets(rows: list[dict[str, Any]]) -> list[Target]:
    """The worst of all kinds."""
    hostile = [row for row in rows if row["kind"] != _NOBODY]
    beyond = max(row["beyond_ms"] for row in hostile)
    more = max(row["more_mb"] for row in hostile)
    fewest = min(row["answers"] for row in rows)
    return [
        Target("longest answer during a hostile upload, ms beyond", beyond, _MOST_BEYOND_MS),
        Target("memory during a hostile upload, MB more, workers included", more, _MOST_MORE_MB),
        Target("answers of each measurement", fewest, _ANSWERS, least=True),
    ]


@contextmanager
def _serving(state: Path) -> Iterator[tuple[GatewayHarness, GatewayProcess]]:
    """An installation with digits in production, served by a process of its own."""
    harness = GatewayHarness(state, "digits-standard")
    harness.start()
    harness.promote("digits", 1)
    harness.stop()
    gateway = GatewayProcess(state)
    gateway.start()
    try:
        yield harness, gateway
    finally:
        gateway.stop()


def _package(harness: GatewayHarness, paths: dict[str, Path], *, valid: bool) -> Package:
    """The files as a version, signed; or with the signature of another one."""
    entries = [
        FileEntry(name, path.stat().st_size, sha256(path.read_bytes()))
        for name, path in sorted(paths.items())
    ]
    manifest = Manifest(tuple(entries))
    signed = manifest if valid else Manifest.of({"other.json": b"{}"})
    key = load_private_key(Path(str(harness.profile("publisher").model_signing_key)))
    return Package("flood", manifest, oms.sign(signed, key), [], commit(harness, "flood"), paths)


def _measured(
    harness: GatewayHarness, gateway: GatewayProcess, package: Package | None, answers: int
) -> tuple[Answers, float, Counter[str]]:
    """Answers, the most memory (MB), and what became of the uploads."""
    people = harness.state / "people"
    memory = _Memory(gateway.pid)
    outcomes: Counter[str] = Counter()
    with memory:
        flood = _Flood(people / "publisher" / "profile.toml", package) if package else None
        callers = Callers(people / "client" / "profile.toml", answers)
        found = callers.finish()
        if flood:
            outcomes = flood.stop()
    return found, memory.most, outcomes


def _row(
    kind: str, signature: str, answers: Answers, memory: float, outcomes: Counter[str]
) -> dict[str, Any]:
    return {
        "kind": kind,
        "signature": signature,
        "answers": len(answers.milliseconds),
        "median_ms": round(answers.at(0.5), 1),
        "p99_ms": round(answers.at(0.99), 1),
        "longest_ms": round(answers.at(1.0), 1),
        "memory_mb": round(memory, 1),
        "refused": answers.refused,
        "uploads": dict(outcomes),
    }


class _Flood:
    """A process that uploads a package over and over."""

    def __init__(self, profile: Path, package: Package) -> None:
        context = get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_flood, args=(profile, package, other), daemon=True)
        self._process.start()
        # The first upload is over: all that an upload takes is warm.
        self._connection.recv()

    def stop(self) -> Counter[str]:
        self._connection.send("stop")
        found: Counter[str] = self._connection.recv()
        self._process.join()
        return found


def _flood(profile: Path, package: Package, connection: Connection) -> None:
    publisher = Profile.read(profile)
    outcomes: Counter[str] = Counter()
    with connect(publisher) as channel:
        while not connection.poll():
            outcomes[_outcome(channel, package)] += 1
            if outcomes.total() == 1:
                connection.send("begun")
    connection.send(outcomes)


def _outcome(channel: grpc.Channel, package: Package) -> str:
    """Upload all bytes, whatever their signature, and register them; the reason of the refusal."""
    uploads = UploadServiceStub(channel)
    opening = upload_pb2.CreateUploadRequest(
        model=package.model, manifest=package.manifest.encode()
    )
    upload = uploads.CreateUpload(opening).upload
    # An empty signature is refused, but not before all bytes are there.
    with suppress(grpc.RpcError):
        Uploader(channel, patience=UploadLimits(attempts=1)).publish(
            replace(package, signature=b"")
        )
    done = upload_pb2.CreateVersionRequest(
        name=upload.name, signature=package.signature, commitment=package.commitment
    )
    try:
        uploads.CreateVersion(done, timeout=300)
    except grpc.RpcError as error:
        return reason_name_of(error) or str(error.code())
    finally:
        uploads.DeleteUpload(upload_pb2.DeleteUploadRequest(name=upload.name))
    return "registered"


class _Memory:
    """The most that a process and its children have in memory while the block runs, in MB."""

    def __init__(self, pid: int) -> None:
        self.most = 0.0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            every = (self._pid, *self._workers())
            self.most = max(self.most, sum(status_kb(pid, "VmRSS") for pid in every) / 1024)

    def _workers(self) -> list[int]:
        return [child for child in children(self._pid) if _is_worker(child)]


def _is_worker(pid: int) -> bool:
    """Whether it runs its own program by now; until then it shares its parent's memory."""
    return "registry.sandbox" in read_proc(pid, "cmdline")


def _graph(*fields: bytes) -> dict[str, bytes]:
    return {"model.int8.onnx": _HEAD + field(7, b"".join(fields))}


def _packed() -> dict[str, bytes]:
    """A tensor (a graph's field 5) of 250 million packed numbers (its field 7)."""
    return _graph(field(5, field(7, b"\x01" * (250 * MB))))


def _weights() -> dict[str, bytes]:
    """A tensor of 250 MB of raw data, which is no more in memory than on the wire."""
    return _graph(field(5, field(9, b"\x01" * (250 * MB))))


def _attributes() -> dict[str, bytes]:
    """A node of empty attributes (its field 5), two bytes each, as many as are taken."""
    return _graph(field(1, b"\x2a\x00" * (MB - 16)))


def _long_json() -> dict[str, bytes]:
    return {"model.json": b"[" + b"[]," * (5 * MB) + b"[]]"}


def _nested_json() -> dict[str, bytes]:
    lists = b"[[[]]]," * (MB // 2)
    return {"model.json": (b"[" + lists + b"0," * 1000).ljust(16 * MB - 1) + b"]"}


def _header() -> dict[str, bytes]:
    """A safetensors header of 15 MB."""
    lists = b"[]," * (MB // 2)
    header = (b'{"x":[' + lists + b"[]]}").ljust(15 * MB)
    return {"model.safetensors": len(header).to_bytes(8, "little") + header}


def _many() -> dict[str, bytes]:
    """As many files as a version may have, the last one malformed."""
    return {f"f{number:03}.json": b"[%d]" % number for number in range(255)} | {"g.json": b"["}


KINDS: Mapping[str, Callable[[], dict[str, bytes]]] = {
    "packed numbers, 250 MB": _packed,
    "weights, 250 MB": _weights,
    "empty attributes, 2 MB": _attributes,
    "long JSON, 15 MB": _long_json,
    "nested JSON, 16 MB": _nested_json,
    "tensor header, 15 MB": _header,
    "256 small files": _many,
}


def write_hostile(kind: str, folder: Path) -> dict[str, Path]:
    """Write the files of a kind into a new folder; returns them by name."""
    folder.mkdir()
    paths = {}
    for name, data in KINDS[kind]().items():
        paths[name] = folder / name
        paths[name].write_bytes(data)
    return paths
