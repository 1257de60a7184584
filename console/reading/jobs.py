"""Packs and whole-log checks, made beside the pages: one for each session, a few at a time."""

import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc

from sealgate.audit import Auditor, LogFinding
from sealgate.pack import Pack, export_pack
from sealgate.reasons import SealgateError
from sealgate.remote.errors import refusal_of
from sealgate.trust.policy import Policy

MOST_PACKS = 2
"""Packs that are made at a time, whoever asked for them."""
KEPT = 4
"""Packs that are kept for download; the oldest makes room."""
MOST_CHECKS = 4
"""Checks at a time, whoever began them."""


@dataclass(slots=True)
class PackJob:
    """A pack in the making: `done` of `total` of `what`; then its `pack` and its zip `file`."""

    folder: TemporaryDirectory[str]
    what: str = ""
    done: int = 0
    total: int = 0
    pack: Pack | None = None
    problem: str = ""
    ended: bool = False
    dropped: bool = False

    @property
    def file(self) -> Path:
        return Path(self.folder.name, "pack.zip")

    def progress(self, what: str, done: int, total: int) -> None:
        """Raises _Dropped where nobody waits for the pack any more."""
        if self.dropped:
            raise _Dropped
        self.what, self.done, self.total = what, done, total


class _Dropped(Exception):
    """The caller that asked for the pack has gone."""


@dataclass(frozen=True, slots=True)
class PackRequest:
    """A request for an export: the models, or all where none is named, and whether with their
    files.
    """

    policies: Sequence[Policy]
    models: tuple[str, ...]
    with_files: bool
    now: datetime


class PackExports:
    """The newest pack of each session."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, PackJob] = {}

    def of(self, session: str) -> PackJob | None:
        """The pack of a session, by its handle, if it asked for one."""
        return self._jobs.get(session)

    def begin(self, session: str, channel: grpc.Channel, asked: PackRequest) -> None:
        """Begin a pack, unless one of this session is made; too many at once are refused."""
        with self._lock:
            old = self._jobs.pop(session, None)
            if old is not None and not old.ended:
                self._jobs[session] = old
                return
            running = [job for job in self._jobs.values() if not job.ended]
            job = PackJob(TemporaryDirectory(prefix="sealgate-pack-"))
            if len(running) >= MOST_PACKS:
                job.problem, job.ended = "Other packs are being made; try again soon.", True
            self._jobs[session] = job
            dropped = [old] if old is not None else []
            ended = [key for key, each in self._jobs.items() if each.ended and each is not job]
            dropped += [self._jobs.pop(key) for key in ended[: max(0, len(ended) - KEPT + 1)]]
        for each in dropped:
            each.folder.cleanup()
        if not job.ended:
            threading.Thread(target=partial(self._run, channel, asked, job), daemon=True).start()

    def drop(self, session: str) -> None:
        """Delete the pack of a session that has ended; one in the making, as soon as it stops."""
        with self._lock:
            job = self._jobs.pop(session, None)
            if job is None:
                return
            job.dropped = True
            if not job.ended:
                self._jobs[f"{session} dropped"] = job
                return
        job.folder.cleanup()

    def _run(self, channel: grpc.Channel, asked: PackRequest, job: PackJob) -> None:
        _make(channel, asked, job)
        with self._lock:
            job.ended = True
            if not job.dropped:
                return
            self._jobs = {key: each for key, each in self._jobs.items() if each is not job}
        job.folder.cleanup()


def _make(channel: grpc.Channel, asked: PackRequest, job: PackJob) -> None:
    place = Path(job.folder.name, "pack")
    try:
        made = export_pack(
            channel,
            asked.policies,
            place,
            asked.now,
            models=asked.models,
            with_files=asked.with_files,
            progress=job.progress,
        )
        shutil.make_archive(str(job.file.with_suffix("")), "zip", place.parent, place.name)
        shutil.rmtree(place)
        job.pack = made
    except grpc.RpcError as error:
        job.problem = str(refusal_of(error))
    except (SealgateError, OSError) as problem:
        job.problem = str(problem)
    except _Dropped:
        pass


@dataclass(slots=True)
class LogCheck:
    """A log, and how many of how many entries are checked; `problem` is what broke the check."""

    origin: str
    done: int = 0
    total: int = 0
    finding: LogFinding | None = None
    problem: str = ""


@dataclass(slots=True)
class VerificationJob:
    """The check of every log behind the gateway."""

    logs: list[LogCheck] = field(default_factory=list)
    problem: str = ""
    ended: bool = False


class Verifications:
    """The newest check of each session."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, VerificationJob] = {}

    def of(self, session: str) -> VerificationJob | None:
        """The check of a session, by its handle, if it began one."""
        return self._jobs.get(session)

    def begin(self, session: str, auditor: Auditor) -> None:
        """Start a check, unless one of this session runs; too many at once are refused."""
        with self._lock:
            running = [job for job in self._jobs.values() if not job.ended]
            old = self._jobs.get(session)
            if old is not None and not old.ended:
                return
            job = VerificationJob()
            if len(running) >= MOST_CHECKS:
                job.problem, job.ended = "Other checks are running; try again soon.", True
            self._keep_some()
            self._jobs[session] = job
        if not job.ended:
            threading.Thread(target=partial(_run, auditor, job), daemon=True).start()

    def _keep_some(self) -> None:
        ended = [key for key, job in self._jobs.items() if job.ended]
        for key in ended[: max(0, len(self._jobs) - 100)]:
            del self._jobs[key]


def _run(auditor: Auditor, job: VerificationJob) -> None:
    """Check one log after another; what one of them lacks does not stop the others."""
    try:
        job.logs = [LogCheck(origin) for origin in auditor.origins()]
        for check in job.logs:
            _check(auditor, check)
    except grpc.RpcError as error:
        job.problem = str(refusal_of(error))
    except SealgateError as refusal:
        job.problem = str(refusal)
    finally:
        job.ended = True


def _check(auditor: Auditor, check: LogCheck) -> None:
    def progress(done: int, total: int) -> None:
        check.done, check.total = done, total

    try:
        check.finding = auditor.verify(check.origin, progress)
    except grpc.RpcError as error:
        check.problem = str(refusal_of(error))
    except SealgateError as refusal:
        check.problem = str(refusal)
