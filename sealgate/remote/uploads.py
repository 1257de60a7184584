"""Uploads a version's files in parallel, and resumes after broken connections.

An upload is found again by its files alone, so whoever is interrupted just uploads them again.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import grpc

from sealgate.reasons import Reason, SealgateError
from sealgate.remote.calls import new_request_id
from sealgate.remote.connection import facts_of, reason_of
from sealgate.trust.statements import Manifest
from sealgate.v1 import registry_pb2
from sealgate.v1 import upload_pb2 as messages
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub
from sealgate.v1.upload_pb2_grpc import UploadServiceStub

PARALLEL = 4

_CHUNK = 1 << 20
_CALL_SECONDS = 60.0
# A stream that hangs is given up after this long, and a slow one begun anew where it stands.
_STREAM_SECONDS = 600.0
# Checking a large version's files takes its time.
_REGISTER_SECONDS = 600.0
_BROKEN = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        # The status of a connection that broke in the middle of a message.
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)
_AGAIN = frozenset({Reason.UPLOAD_OFFSET, Reason.QUEUE_FULL, Reason.RATE_EXCEEDED})

# Called with how many bytes of the files are on the gateway, and how many there are in all.
Progress = Callable[[int, int], None]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """How often to retry without progress, and how long to wait before that, in seconds: up to
    `first` * 2**n before the nth time, but no more than `longest`.
    """

    attempts: int = 10
    first: float = 0.1
    longest: float = 5.0

    def pause(self, failures: int) -> float:
        """A random part of the longest wait, so that callers do not all come back at once."""
        longest = min(self.longest, self.first * 2.0 ** (failures - 1))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311


@dataclass(frozen=True, slots=True)
class Package:
    """The parts of a version to register; `files` are the local paths of the manifest's files."""

    model: str
    manifest: Manifest
    signature: bytes
    evidence: Sequence[bytes]
    commitment: str
    files: Mapping[str, Path]


class Uploader:
    """Uploads packages over one channel."""

    def __init__(
        self,
        channel: grpc.Channel,
        *,
        parallel: int = PARALLEL,
        patience: UploadLimits | None = None,
        progress: Progress = lambda done, total: None,
    ) -> None:
        self._uploads = UploadServiceStub(channel)
        self._registry = RegistryServiceStub(channel)
        self._parallel = parallel
        self._patience = patience or UploadLimits()
        self._progress = progress

    def publish(self, package: Package) -> registry_pb2.Version:
        """Upload the files and register them; what the caller registered before is returned.

        Raises grpc.RpcError with the gateway's reason, or when it stays away; FILE_MISSING where it
        asks for a file that the package does not have.
        """
        # A second round where the gateway has changed, or has lost what it had.
        for last in (False, True):
            try:
                return self._publish(package)
            except grpc.RpcError as error:
                reason = reason_of(error)
                if reason is Reason.VERSION_EXISTS:
                    return self._registered(package, error)
                if last or reason not in (Reason.UPLOAD_UNKNOWN, Reason.FILE_MISSING):
                    raise
        raise AssertionError("the last round returns or raises")

    def _publish(self, package: Package) -> registry_pb2.Version:
        request = messages.CreateUploadRequest(
            model=package.model,
            manifest=package.manifest.encode(),
            request_id=new_request_id(),
            signature=package.signature,
        )
        upload = self._patiently(
            lambda: self._uploads.CreateUpload(request, timeout=_CALL_SECONDS).upload
        )
        self._send(upload, package.files)
        done = messages.CreateVersionRequest(
            name=upload.name,
            signature=package.signature,
            evidence=package.evidence,
            commitment=package.commitment,
            request_id=new_request_id(),
        )
        return self._patiently(
            lambda: self._uploads.CreateVersion(done, timeout=_REGISTER_SECONDS).version
        )

    def _registered(self, package: Package, error: grpc.RpcError) -> registry_pb2.Version:
        """The version of these files, if it is the caller's: same signature, same mark."""
        name = f"models/{package.model}/versions/{facts_of(error).get('version', '')}"
        version: registry_pb2.Version = self._patiently(
            lambda: (
                self._registry.GetVersion(
                    registry_pb2.GetVersionRequest(name=name), timeout=_CALL_SECONDS
                ).version
            )
        )
        if version.signature != package.signature:
            raise error
        return version

    def _send(self, upload: messages.Upload, paths: Mapping[str, Path]) -> None:
        for file in upload.files:
            if file.path not in paths:
                raise SealgateError(
                    Reason.FILE_MISSING, f"{file.path!r} is not one that was announced"
                )
        sent = _Sent(upload, self._progress)
        stop = threading.Event()
        # The largest first, so that none is left alone at the end.
        files = sorted(upload.files, key=lambda file: -file.size)
        with ThreadPoolExecutor(self._parallel, thread_name_prefix="upload") as pool:
            try:
                waiting = [
                    pool.submit(self.send_file, upload.name, file, paths[file.path], sent, stop)
                    for file in files
                ]
                for finished in as_completed(waiting):
                    finished.result()
            except BaseException:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def send_file(
        self,
        name: str,
        file: messages.Upload.File,
        path: Path,
        sent: "_Sent",
        stop: threading.Event,
    ) -> None:
        """Send a file, and resume until it has arrived completely."""
        failures, stands, best = 0, file.received, file.received
        while True:
            header = messages.UploadFileRequest.Header(name=name, path=file.path, offset=stands)
            parts = _parts(header, path, lambda at: sent.move(file.path, at), stop)
            try:
                self._uploads.UploadFile(parts, timeout=_STREAM_SECONDS)
                sent.move(file.path, file.size)
                return
            except grpc.RpcError as error:
                if stop.is_set() or not _is_passing(error):
                    raise
                failures += 1
                stands = self._stands(name, file.path, stop)
                if stands > best:
                    failures, best = 1, stands
                if failures >= self._patience.attempts:
                    raise
                sent.move(file.path, stands)
            stop.wait(self._patience.pause(failures))

    def _stands(self, name: str, path: str, stop: threading.Event) -> int:
        request = messages.GetUploadRequest(name=name)
        upload = self._patiently(
            lambda: self._uploads.GetUpload(request, timeout=_CALL_SECONDS).upload, stop
        )
        return next(int(file.received) for file in upload.files if file.path == path)

    def _patiently(self, call: Callable[[], _T], stop: threading.Event | None = None) -> _T:
        """Make a call that may be repeated until it has an answer."""
        for failures in range(1, self._patience.attempts):
            try:
                return call()
            except grpc.RpcError as error:
                if (stop and stop.is_set()) or not _is_passing(error):
                    raise
            pause = self._patience.pause(failures)
            if stop:
                stop.wait(pause)
            else:
                time.sleep(pause)
        return call()


class _Sent:
    """How much of each file is on the gateway."""

    def __init__(self, upload: messages.Upload, progress: Progress) -> None:
        self._files = {file.path: file.received for file in upload.files}
        self._total = sum(file.size for file in upload.files)
        self._progress = progress
        self._mutex = threading.Lock()
        progress(sum(self._files.values()), self._total)

    def move(self, path: str, at: int) -> None:
        with self._mutex:
            self._files[path] = at
            self._progress(sum(self._files.values()), self._total)


def _parts(
    header: messages.UploadFileRequest.Header,
    path: Path,
    move: Callable[[int], None],
    stop: threading.Event,
) -> Iterator[messages.UploadFileRequest]:
    yield messages.UploadFileRequest(header=header)
    with path.open("rb") as file:
        file.seek(header.offset)
        while not stop.is_set() and (chunk := file.read(_CHUNK)):
            yield messages.UploadFileRequest(chunk=chunk)
            move(file.tell())


def _is_passing(error: grpc.RpcError) -> bool:
    """Whether it may go well another time: the connection broke, or the gateway says so."""
    reason = reason_of(error)
    if reason in _AGAIN:
        return True
    if reason is Reason.INTERNAL:
        return False
    return isinstance(error, grpc.Call) and error.code() in _BROKEN
