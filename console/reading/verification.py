"""Whole-log checks that run beside the pages, one for each session, a few at a time."""

import threading
from dataclasses import dataclass, field
from functools import partial

import grpc

from sealgate.audit import Auditor, LogFinding
from sealgate.reasons import SealgateError
from sealgate.remote.errors import refusal_of

MOST = 4
"""Checks at a time, whoever began them."""


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
            if len(running) >= MOST:
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
