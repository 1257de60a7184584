"""HTTP requests of a federation beside Flower's: enrolment, the state of the run, and its weights.

    POST /enrol           a request of `training.federated.enrolment`; answers {"place": 3}
    GET  /status/PLACE    {"round": 2, "ended": false, "reason": "", "weights": ""}

Refusals answer {"reason": "ENROLMENT_USED"} and nothing more. When the run has ended, `weights` is
the digest of the last weights, or `reason` says why there are none; the server stays until every
client that answers has read that, or for some seconds.

A client speaks TLS 1.3 and trusts the invitation's authority alone.
"""

import http.client
import json
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sealgate.network.bounded_http import HttpExchange
from sealgate.reasons import Kind, Reason, SealgateError
from sealgate.trust import fields
from sealgate.trust.times import format_time, parse_time
from training.data import write_whole
from training.federated.enrolment import (
    LARGEST_REQUEST,
    EnrolledClient,
    EnrolmentBook,
    FederationInvitation,
)

ENTRY, ENROLLED = "entry.json", "enrolled.json"
"""Files of the server process: what it is told of clients elsewhere, and who has enrolled."""

_PAUSE = 0.1
_LINGER = 15.0
_STATUS = {Kind.UNAUTHENTICATED: 401, Kind.INVALID: 400, Kind.PRECONDITION: 412}
_SECONDS, _LARGEST = 10.0, 1 << 16
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class EntryTerms:
    """The server process's terms for clients elsewhere: where to listen, and for `EnrolmentBook`
    the tokens' digests, their end, and the digests of recipe and authority.
    """

    host: str
    port: int
    tokens: tuple[str, ...]
    until: datetime
    recipe: str
    server: str

    def write(self, path: Path) -> None:
        """Raises STORAGE_FULL."""
        document = asdict(self) | {"until": format_time(self.until)}
        write_whole(path, json.dumps(document).encode())

    @classmethod
    def read(cls, path: Path) -> Self:
        told = json.loads(path.read_bytes())
        return cls(**told | {"tokens": tuple(told["tokens"]), "until": parse_time(told["until"])})


@dataclass(frozen=True, slots=True)
class FederationState:
    """How far a run is: the round that has begun, and when it has ended, the last weights' digest
    or the reason for which there are none.
    """

    round: int = 0
    ended: bool = False
    reason: str = ""
    weights: str = ""

    @classmethod
    def decode(cls, value: Any) -> Self:
        """Raises SealgateError(DOCUMENT_MALFORMED)."""
        told = fields.record(value, ("round", "ended", "reason", "weights"))
        if type(told["ended"]) is not bool:
            raise fields.malformed("ended is true or false")
        words = fields.text(told["reason"]), fields.text(told["weights"])
        return cls(fields.integer(told["round"]), told["ended"], *words)


class RemoteClients:
    """The clients elsewhere of one run. `admit` takes the key of each (PEM), `listed` is where
    those that have enrolled are written down.
    """

    def __init__(self, terms: EntryTerms, admit: Callable[[bytes], Any], listed: Path) -> None:
        self._book = EnrolmentBook(
            terms.tokens, terms.until, terms.recipe, terms.server, lambda: datetime.now(UTC)
        )
        self._admit, self._listed = admit, listed
        self._state = FederationState()
        self._informed: set[int] = set()
        self._rows: list[dict[str, Any]] = []
        self._mutex = threading.Lock()

    def routes(self) -> Sequence[Route]:
        return (
            Route("/enrol", self._enrol, methods=["POST"]),
            Route("/status/{place:int}", self._tell, methods=["GET"]),
        )

    def wait(self) -> None:
        """Until all have enrolled, or no token is good any more."""
        while not self._book.closed:
            time.sleep(_PAUSE)

    def begin(self, number: int) -> None:
        """A round begins."""
        self._state = replace(self._state, round=number)

    @contextmanager
    def informing(self, last: Callable[[], str], silent: Callable[[], int]) -> Iterator[None]:
        """Tell clients how what is done inside ended: `last` gives the digest of the last weights,
        `silent` how many clients do not answer any more. Waits until the others know.
        """
        try:
            yield
        except SealgateError as refusal:
            self._end(refusal.reason.name, "", silent)
            raise
        self._end("", last(), silent)

    def _end(self, reason: str, weights: str, silent: Callable[[], int]) -> None:
        self._state = replace(self._state, ended=True, reason=reason, weights=weights)
        ends = time.monotonic() + _LINGER
        while time.monotonic() < ends:
            if len(self._informed) >= len(self._book.enrolled) - silent():
                return
            time.sleep(_PAUSE)

    async def _enrol(self, request: Request) -> JSONResponse:
        body, address = bytearray(), request.client.host if request.client else ""
        async for part in request.stream():
            body += part
            if len(body) > LARGEST_REQUEST:
                break
        try:
            place = await run_in_threadpool(self._place, bytes(body), address)
        except SealgateError as refusal:
            print(f"{address}: {refusal.reason.name} {refusal.detail}", file=sys.stderr, flush=True)
            reason = refusal.reason
            return JSONResponse({"reason": reason.name}, _STATUS.get(reason.kind, 503))
        return JSONResponse({"place": place})

    def _place(self, body: bytes, address: str) -> int:
        def admit(client: EnrolledClient) -> None:
            self._admit(client.key.encode())
            row = client.encode() | {"address": address}
            with self._mutex:
                self._rows.append(row)
                write_whole(self._listed, json.dumps(self._rows).encode())

        return self._book.enrol(body, admit)

    async def _tell(self, request: Request) -> JSONResponse:
        state, place = self._state, request.path_params["place"]
        if state.ended and place < len(self._book.enrolled):
            self._informed.add(place)
        return JSONResponse(asdict(state))


class FederationServer:
    """The server that an invitation names, as far as it is not Flower's."""

    def __init__(self, invitation: FederationInvitation) -> None:
        """Raises SealgateError(DOCUMENT_MALFORMED) for an authority that cannot be read."""
        self._parts = urlsplit(f"https://{invitation.server}")
        try:
            self._context = ssl.create_default_context(cadata=invitation.authority)
        except (ssl.SSLError, ValueError) as error:
            raise fields.malformed("the authority is no certificate") from error
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3

    def enrol(self, body: bytes, patience: float = _PATIENCE, pause: float = 1.0) -> int:
        """The client's place. A server that does not answer, as one that does not listen yet, is
        asked again after each `pause` until `patience` is over, both in seconds.

        Raises SealgateError: FEDERATION_LOST, or as the server refuses.
        """
        until = time.monotonic() + patience
        while True:
            try:
                told = self._ask("POST", "/enrol", body)
            except SealgateError as refusal:
                stranger = isinstance(refusal.__cause__, ssl.SSLCertVerificationError)
                lost = refusal.reason is Reason.FEDERATION_LOST and not stranger
                if not lost or time.monotonic() >= until:
                    raise
                # The same key may ask again.
                time.sleep(pause)
            else:
                return fields.integer(fields.record(told, ("place",))["place"])

    def state(self, place: int) -> FederationState:
        """Raises SealgateError(FEDERATION_LOST)."""
        return FederationState.decode(self._ask("GET", f"/status/{place}"))

    def _ask(self, method: str, target: str, body: bytes | None = None) -> Any:
        asked = HttpExchange(
            self._parts, self._context, method, target, _LARGEST, _SECONDS, body=body
        )
        try:
            status, data = asked.run()
            told = json.loads(data)
        except (OSError, http.client.HTTPException, ValueError) as error:
            detail = f"{self._parts.netloc}: {type(error).__name__}: {error}"
            raise SealgateError(Reason.FEDERATION_LOST, detail) from error
        if status != 200:
            reason = fields.text(fields.record(told, ("reason",))["reason"])
            raise SealgateError(Reason.named(reason), f"said {self._parts.netloc}")
        return told
