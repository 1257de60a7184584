"""One request from question to verified answer, as steps without I/O.

1. reach the policy from the pinned root keys, anew every few minutes;
2. note how large each log is known to be;
3. ask, with a nonce of its own each time; what is refused is asked again where that is safe, within
   the call's time;
4. check the receipt, of an answer or a refusal, against the policy and this very call;
5. witness the log: its checkpoint must be consistent with the last one seen;
6. only then hand the answer out.

Each method is a generator of steps (a call, a pause). A driver, blocking or not, does them and
sends the result back, or throws the call's error in.
"""

import random
import secrets
import time
from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import grpc

from sealgate.client.consistency import ConsistencyChecker, Gap, SeenCheckpoint
from sealgate.client.request import (
    ANSWERED,
    INFER,
    ExpectedReceipt,
    InferResult,
    PinnedRoots,
    PolicyView,
    PreparedRequest,
    RequestAttempt,
    check_receipt,
)
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason, SealgateError
from sealgate.remote.calls import Retries
from sealgate.remote.errors import CheckedReceipt, GatewayRefusal, receipt_in, refusal_of
from sealgate.tensors import read_outputs
from sealgate.trust.fields import VERSION_NUMBER
from sealgate.trust.transparency import open_checkpoint
from sealgate.v1 import log_pb2, registry_pb2
from sealgate.v1.log_pb2_grpc import LogServiceStub
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

# A withdrawn log key is noticed after this time at the latest.
_POLICY_SECONDS = 300.0
_NONCE_BYTES = 16
# The reasons that a newer policy may remove.
_OUTDATED = frozenset(
    {
        Reason.LOG_UNKNOWN,
        Reason.SIGNATURE_INVALID,
        Reason.POLICY_INVALID,
        Reason.PRINCIPAL_UNKNOWN,
    }
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rpc:
    """Make a call; `method` is its bare name, `timeout` the seconds it may take."""

    method: str
    request: Any
    timeout: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait."""

    seconds: float


Steps = Generator[Rpc | Pause, Any, T]


@dataclass(frozen=True, slots=True)
class CallerIdentity:
    """The caller: a principal's name, or the identities that its credentials prove."""

    principal: str | None
    identities: Callable[[], tuple[str, ...]]

    def name(self, view: PolicyView) -> str:
        """Raises: PRINCIPAL_UNKNOWN."""
        return self.principal or view.principal(self.identities())


class Exchange:
    """Asks, checks and witnesses for one caller; shared by any number of threads or tasks."""

    def __init__(
        self,
        roots: PinnedRoots,
        caller: CallerIdentity,
        witness: ConsistencyChecker,
        retries: Retries,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        nonce: Callable[[], str] = lambda: secrets.token_urlsafe(_NONCE_BYTES),
        takes_v1: bool = False,
    ) -> None:
        """With `takes_v1` entries of v1 do too, and no nonce is sent, which a gateway that writes
        them refuses.
        """
        self.witness = witness
        self._roots = roots
        self._caller = caller
        self._retries = retries
        self._now = now
        self._monotonic = monotonic
        self._chance = chance
        self._nonce = nonce
        self._takes_v1 = takes_v1
        self._view: PolicyView | None = None
        self._principal = ""
        self._stale_at = 0.0

    def ask(self, question: PreparedRequest, seconds: float) -> Steps[InferResult]:
        """Raises SealgateError: GatewayRefusal, LogFork, and the reasons of `check`; see above."""
        ends = self._monotonic() + seconds
        attempt = 0
        while True:
            attempt += 1
            yield from self._current_policy(ends)  # 1
            request = question.with_nonce("" if self._takes_v1 else self._nonce())
            sent = RequestAttempt(question, request, self.witness.sizes(), self._now())  # 2
            try:
                response = yield self._rpc("ModelInfer", request, ends)  # 3
            except grpc.RpcError as error:
                failed = error
            else:
                return (yield from self._answer(sent, response, ends))
            refusal = yield from self._refusal(sent, failed, ends)
            yield from self._pause(attempt, refusal, ends)

    def read(self, method: str, request: Any, seconds: float) -> Steps[Any]:
        """A call that changes nothing and has no receipt. Raises: GatewayRefusal."""
        return self._read(method, request, self._monotonic() + seconds)

    def witness_logs(self, seconds: float) -> Steps[dict[str, int]]:
        """Fetches the newest checkpoint of every log and holds it against the last one seen.

        Returns each log's size by its origin. Raises: LOG_INCONSISTENT, SIGNATURE_INVALID,
        LOG_UNKNOWN for a log that the policy does not name.
        """
        ends = self._monotonic() + seconds
        view = yield from self._current_policy(ends)
        origins = yield from self._origins(ends)
        found = {}
        for origin in origins:
            request = log_pb2.GetCheckpointRequest(origin=origin)
            note = (yield from self._read("GetCheckpoint", request, ends)).note
            checkpoint = open_checkpoint(note, view.newest.log_key(origin))
            yield from self._witness(SeenCheckpoint(checkpoint, note), ends)
            found[origin] = checkpoint.size
        return found

    def _origins(self, ends: float) -> Steps[list[str]]:
        request, found = log_pb2.ListLogsRequest(), list[str]()
        while True:
            page = yield from self._read("ListLogs", request, ends)
            found += page.origins
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    def _answer(
        self, attempt: RequestAttempt, response: oip.ModelInferResponse, ends: float
    ) -> Steps[InferResult]:
        request, question = attempt.request, attempt.question
        data = response.parameters["receipt"].string_param.encode()
        if not data:
            raise SealgateError(Reason.RECEIPT_MISSING)
        if response.id != request.id or not VERSION_NUMBER.fullmatch(response.model_version):
            raise SealgateError(Reason.RECEIPT_MISMATCH, "the answer's id or version")
        outputs = read_outputs(response)
        values = {
            "outcome": (ANSWERED,),
            "model": (request.model_name,),
            "version": (request.model_version or response.model_version,),
            "input": (question.input_digest,),
            "output": (question.digest_of_outputs(outputs),),
        }
        receipt = yield from self._accept(data, attempt, values, ends)
        return InferResult(
            {name: tensor.data for name, tensor in outputs.items()},
            request.model_name,
            int(receipt.fields["version"]),
            response.id,
            receipt,
        )

    def _refusal(
        self, attempt: RequestAttempt, error: grpc.RpcError, ends: float
    ) -> Steps[GatewayRefusal]:
        refusal = refusal_of(error)
        data = receipt_in(error)
        if data is not None:
            # Fields that the gateway had not reached when it refused are empty.
            values = {
                "outcome": (refusal.reason.name,),
                "model": (attempt.request.model_name, ""),
                "input": (attempt.question.input_digest, ""),
                "output": ("",),
            }
            refusal.receipt = yield from self._accept(data, attempt, values, ends)
        return refusal

    def _accept(
        self,
        data: bytes,
        attempt: RequestAttempt,
        values: Mapping[str, Collection[str]],
        ends: float,
    ) -> Steps[CheckedReceipt]:
        """Steps 4 and 5, under a newer policy where the one in hand does not do."""
        until, known = self._now(), {**attempt.values(), **values}
        for last in (False, True):
            view = yield from self._current_policy(ends)
            told = {"principal": (self._principal,), "method": (INFER,), **known}
            expected = ExpectedReceipt(told, attempt.since, until, self._takes_v1)
            try:
                receipt, seen = check_receipt(data, view, expected)
                break
            except SealgateError as refusal:
                if last or refusal.reason not in _OUTDATED:
                    raise
            self._stale_at = 0.0
        yield from self._witness(seen, ends)
        if not self.witness.take(seen, attempt.sizes):
            raise SealgateError(Reason.RECEIPT_MISMATCH, "it was recorded for another call")
        return receipt

    def _witness(self, seen: SeenCheckpoint, ends: float) -> Steps[None]:
        while (gap := self.witness.gap(seen)) is not None:
            hashes = yield from self._consistency(gap, ends)
            if self.witness.close(seen, gap, hashes):
                return

    def _consistency(self, gap: Gap, ends: float) -> Steps[list[bytes]]:
        request = log_pb2.GetConsistencyProofRequest(
            origin=gap.new.origin, old_size=gap.old.size, new_size=gap.new.size
        )
        try:
            proof = yield from self._read("GetConsistencyProof", request, ends)
        except GatewayRefusal as refusal:
            if refusal.reason is Reason.ENTRY_UNKNOWN:
                # It no longer has a size that it signed: it has shrunk.
                raise gap.fork() from refusal
            raise
        return list(proof.hashes)

    def _current_policy(self, ends: float) -> Steps[PolicyView]:
        view = self._view
        if view is not None and self._monotonic() < self._stale_at and view.stands(self._now()):
            return view
        response = yield from self._read("GetPolicy", registry_pb2.GetPolicyRequest(), ends)
        view = PolicyView.open(
            response.envelopes, self._roots, self._now(), self.witness.policy_version
        )
        self.witness.saw_policy(view.newest.version)
        self._principal = self._caller.name(view)
        self._view = view
        self._stale_at = self._monotonic() + _POLICY_SECONDS
        return view

    def _read(self, method: str, request: Any, ends: float) -> Steps[Any]:
        attempt = 0
        while True:
            attempt += 1
            try:
                return (yield self._rpc(method, request, ends))
            except grpc.RpcError as error:
                refusal = refusal_of(error)
            yield from self._pause(attempt, refusal, ends)

    def _pause(self, attempt: int, refusal: GatewayRefusal, ends: float) -> Steps[None]:
        """Waits for the next attempt, or raises the refusal if there is to be none."""
        remaining = ends - self._monotonic()
        seconds = self._retries.pause(attempt, refusal, remaining, self._chance)
        if seconds is None:
            raise refusal
        yield Pause(seconds)

    def _rpc(self, method: str, request: Any, ends: float) -> Rpc:
        remaining = ends - self._monotonic()
        if remaining <= 0:
            raise SealgateError(Reason.DEADLINE_TOO_SHORT)
        return Rpc(method, request, remaining)


def calls_of(channel: grpc.Channel | grpc.aio.Channel) -> Mapping[str, Callable[..., Any]]:
    """Each call takes a request and `timeout`; on a channel of grpc.aio it is to be awaited."""
    stubs: dict[Any, tuple[str, ...]] = {
        GRPCInferenceServiceStub: ("ModelInfer", "ModelReady", "ModelMetadata"),
        RegistryServiceStub: ("GetPolicy",),
        LogServiceStub: ("ListLogs", "GetCheckpoint", "GetConsistencyProof"),
    }
    return {
        method: getattr(stub(channel), method)
        for stub, methods in stubs.items()
        for method in methods
    }
