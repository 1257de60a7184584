"""Callers of several gateways at once, and what a move of an alias looked like to each of them."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import grpc
import numpy.typing as npt

from demo.questions import question
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason
from sealgate.remote import Profile, connect, reason_of

_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a gateway, for an alias (empty: none named): when it was sent and had its
    answer, in seconds of `time.monotonic`; the version that answered, or why none did.
    """

    gateway: int
    alias: str
    sent: float
    received: float
    version: int | None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Reach:
    """How soon a move reached one gateway, in ms after the move's own answer.

    `first_new`: when the first answer as the move wants it was there. `last_old`: when the last
    request was sent that was still answered as before. Either may be negative.
    """

    first_new: float
    last_old: float


class Load:
    """Callers who ask each gateway for each alias, one request every `every` seconds each."""

    def __init__(
        self,
        profiles: Sequence[Profile],
        rows: npt.NDArray[Any],
        aliases: Sequence[str] = ("",),
        callers: int = 4,
        every: float = 0.02,
    ) -> None:
        self._stack = ExitStack()
        self._rows = rows
        self._every = every
        self._ended = threading.Event()
        self._asked: list[Asked] = []
        self._threads = []
        for gateway, profile in enumerate(profiles):
            stub = GRPCInferenceServiceStub(self._stack.enter_context(connect(profile)))
            for caller in range(callers * len(aliases)):
                place = (stub, gateway, aliases[caller % len(aliases)], caller)
                self._threads.append(threading.Thread(target=self._ask, args=place))

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._stack.close()

    @property
    def asked(self) -> list[Asked]:
        """All that was answered so far."""
        return list(self._asked)

    def await_answer(self, gateway: int, wanted: Callable[[Asked], bool]) -> None:
        """Wait until a gateway has answered something so."""
        deadline, seen = time.monotonic() + _TIMEOUT, 0
        while time.monotonic() < deadline:
            new = self._asked[seen:]
            if any(item.gateway == gateway and wanted(item) for item in new):
                return
            seen += len(new)
            time.sleep(0.005)
        raise TimeoutError(f"gateway {gateway} never answered so")

    def _ask(self, stub: GRPCInferenceServiceStub, gateway: int, alias: str, caller: int) -> None:
        place = caller
        while not self._ended.wait(self._every):
            request = question("digits", self._rows[place % len(self._rows)][None])
            if alias:
                request.parameters["alias"].string_param = alias
            sent = time.monotonic()
            version, reason = None, None
            try:
                version = int(stub.ModelInfer(request, timeout=_TIMEOUT).model_version)
            except grpc.RpcError as error:
                reason = reason_of(error) or Reason.CALL_FAILED
            received = time.monotonic()
            self._asked.append(Asked(gateway, alias, sent, received, version, reason))
            place += 1


def reach(
    asked: Sequence[Asked], began: float, moved: float, is_new: Callable[[Asked], bool]
) -> Reach:
    """How a move that was called at `began` and answered at `moved` reached those who asked.

    `asked` are the requests of one gateway and alias until the next move. Raises ValueError where
    none was answered as the move wants it.
    """
    after = [item for item in asked if item.received >= began]
    first = min(item.received for item in after if is_new(item))
    old = [item.sent for item in after if not is_new(item)]
    return Reach((first - moved) * 1000, (max(old, default=began) - moved) * 1000)
