"""Sends new checkpoints to every witness at intervals, and stores the cosignatures.

Every witness has a thread of its own, so one that is unreachable or slow delays neither the others
nor an answer; it only raises an alert. A witness that has seen what we have not stops the log: then
our database was put back or replaced, or somebody else signs with our key.

Asking a witness for its cosignature (C2SP tlog-witness), over https or on this machine. Requests
are bounded in size and time; redirects are not followed, and the environment's proxies are not
used.
"""

import http.client
import logging
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Protocol
from urllib.parse import urlsplit

from gateway import security_events
from gateway.config.optional_sections import WitnessSettings
from gateway.cosigning.cosignatures import CosignatureStore
from gateway.security_events import tampering
from sealgate.network.bounded_http import HttpExchange
from sealgate.periodic import PeriodicThread
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.transparency import Checkpoint, open_checkpoint
from sealgate.trust.transparency import note as notes
from sealgate.trust.transparency.merkle import verify_consistency
from sealgate.witness import PATH, AddCheckpoint, size

_SECONDS = 5.0
_LARGEST_BYTES = 64 * 1024


class WitnessUnreachable(Exception):
    """The witness could not be reached, or did not keep to HTTP."""


def post(
    settings: WitnessSettings, body: bytes, seconds: float = _SECONDS
) -> tuple[HTTPStatus, str]:
    """Send an `add-checkpoint`; return the status and the text of the answer.

    Raises WitnessUnreachable.
    """
    parts = urlsplit(settings.url)
    try:
        exchange = HttpExchange(
            parts,
            _context(settings) if parts.scheme == "https" else None,
            "POST",
            f"{parts.path.rstrip('/')}/{PATH}",
            _LARGEST_BYTES,
            seconds,
            {"content-type": "text/plain", "accept-encoding": "identity"},
            body,
        )
        status, text = exchange.run()
        if len(text) > _LARGEST_BYTES:
            raise ValueError("the answer is too large")
        return HTTPStatus(status), text.decode("utf-8")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise WitnessUnreachable(f"{parts.netloc}: {type(error).__name__}: {error}") from error


def _context(settings: WitnessSettings) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=settings.authority)


_log = logging.getLogger(__name__)

# A witness that another gateway asks too may move on between our question and its answer.
_TRIES = 4


class Log(Protocol):
    """A log to be witnessed, as `registry.log.reader.LogReader` is."""

    origin: str

    @property
    def vkey(self) -> str: ...

    def checkpoint(self) -> str: ...

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]: ...


class Contradiction(Exception):
    """A witness has cosigned what our log does not extend."""


class WitnessUpdater:
    """Threads that have checkpoints cosigned; `halt` stops the log of an origin for good."""

    def __init__(
        self,
        settings: Sequence[WitnessSettings],
        logs: Sequence[Log],
        witnessed: CosignatureStore,
        halt: Callable[[str, str], None],
        every: float,
    ) -> None:
        self._logs = logs
        self._witnessed = witnessed
        self._halt = halt
        self._threads = [
            PeriodicThread(each.witness.name, every, partial(self.feed, each), at_once=True)
            for each in settings
        ]
        for log in logs:
            if detail := witnessed.conflict(log.origin):
                halt(log.origin, detail)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End. Nobody waits for a witness that is slow."""
        for thread in self._threads:
            thread.stop(wait=False)

    def feed(self, settings: WitnessSettings) -> None:
        """Have the newest checkpoint of every log cosigned by one witness."""
        name = settings.witness.name
        for log in self._logs:
            try:
                self._submit(log, settings)
            except (WitnessUnreachable, SealgateError) as error:
                _log.error("%s does not cosign %s: %s", name, log.origin, error)
            except Exception:
                _log.exception("having %s cosigned by %s", log.origin, name)

    def _submit(self, log: Log, settings: WitnessSettings) -> None:
        try:
            submit(log, settings, self._witnessed)
            if settings.advisory:
                self._witnessed.advise(log.origin, settings.witness.name, "")
        except Contradiction as error:
            detail = f"{Reason.LOG_INCONSISTENT.name}: {settings.witness.name}: {error}"
            self._alarm(log.origin, detail, settings)

    def _alarm(self, origin: str, detail: str, settings: WitnessSettings) -> None:
        _log.critical("%s: %s", origin, detail)
        security_events.report(tampering(Reason.LOG_INCONSISTENT))
        if settings.advisory:
            self._witnessed.advise(origin, settings.witness.name, detail)
            return
        self._halt(origin, f"{detail}; look, then remove {self._witnessed.path}")
        self._witnessed.keep_conflict(origin, detail)


def submit(log: Log, settings: WitnessSettings, witnessed: CosignatureStore) -> None:
    """Have a log's newest checkpoint cosigned, unless it is already.

    1. It extends what the witness cosigned last, as far as we know.
    2. The witness gets it with the proof from there (C2SP tlog-witness).
    3. It cosigns: its line is verified and kept.
    4. It is further on than we know (409): it gets a proof from where it is. Where that is beyond
       what our log has by now, it knows of another. Where it is less far than a cosignature of its
       own, it has forgotten that, which is alarmed: what it says no longer covers what was before.
    5. It cannot see ours extend its own (422): likewise.

    Raises Contradiction after 1, 4 and 5; WitnessUnreachable; SealgateError for what else it
    refuses.
    """
    kept = witnessed.newest(log.origin, settings.witness)
    old = kept.checkpoint.size if kept else 0
    for _ in range(_TRIES):
        signed = log.checkpoint()
        newest = open_checkpoint(signed, log.vkey)
        # 1.
        if kept is not None:
            _check_extends(log, kept.checkpoint, newest)
            if old == kept.checkpoint.size == newest.size:
                return
        if old > newest.size:
            raise Contradiction(f"it has seen {old} entries where we have {newest.size}")
        # 2.
        request = AddCheckpoint(old, log.consistency(old, newest.size), signed)
        status, text = post(settings, request.encode())
        # 3.
        if status is HTTPStatus.OK:
            witnessed.keep(log.origin, settings.witness, signed, _line(text, settings))
            return
        # 4. and 5.
        old = _further(status, text, old, newest)
        if kept is not None and old < kept.checkpoint.size:
            told = (settings.witness.name, kept.checkpoint.size, log.origin, old)
            _log.critical("%s has forgotten that it cosigned %d entries of %s: it is at %d", *told)
    raise SealgateError(Reason.WITNESS_REFUSED, "it moves on faster than we ask")


def _further(status: HTTPStatus, text: str, old: int, newest: Checkpoint) -> int:
    """How far the witness is, which has not cosigned what follows `old` entries."""
    if status is HTTPStatus.CONFLICT and size(text.removesuffix("\n")) != old:
        return size(text.removesuffix("\n"))
    forked = status is HTTPStatus.CONFLICT and old == newest.size
    if forked or status is HTTPStatus.UNPROCESSABLE_ENTITY:
        raise Contradiction(f"{status.value} for {newest.size} entries that follow its {old}")
    raise SealgateError(Reason.WITNESS_REFUSED, f"{status.value} {text[:200]!r}")


def _check_extends(log: Log, kept: Checkpoint, newest: Checkpoint) -> None:
    if newest.size < kept.size:
        raise Contradiction(f"it has cosigned {kept.size} entries where we have {newest.size}")
    try:
        proof = log.consistency(kept.size, newest.size)
        verify_consistency(kept.size, kept.root, newest.size, newest.root, proof)
    except SealgateError as refusal:
        if refusal.reason not in (Reason.PROOF_INVALID, Reason.LOG_INCONSISTENT):
            raise
        raise Contradiction(f"what it cosigned at {kept.size} entries is not extended") from refusal


def _line(text: str, settings: WitnessSettings) -> str:
    """The witness's own line of its answer, which may have more."""
    witness = settings.witness
    for line in text.splitlines():
        name, hint, _ = notes.read_line(line)
        if (name, hint) == (witness.name, witness.hint):
            return f"{line}\n"
    raise SealgateError(Reason.WITNESS_REFUSED, "its answer has no line of its key")
