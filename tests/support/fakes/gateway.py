"""A gateway in memory, as a client's exchange sees it: answers, receipts and a log, all real.

It does the steps of `sealgate.client.exchange` at once. Tests make it lie by changing what it
keeps (`leaves`) or what it sends (`change`).
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import grpc
import numpy as np
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from sealgate.client.consistency import ConsistencyChecker
from sealgate.client.exchange import CallerIdentity, Exchange, Pause, Rpc, Steps
from sealgate.client.request import PinnedRoots, PreparedRequest, digest_of
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.remote import RECEIPT_METADATA
from sealgate.remote.calls import Retries
from sealgate.tensors import Tensor, parameters_digest, read_inputs, write_outputs
from sealgate.trust.policy import Policy
from sealgate.trust.receipts import Receipt, answer_entry
from sealgate.trust.receipts.answer_entry import FIELDS, V1_FIELDS
from sealgate.trust.times import format_micros
from sealgate.trust.transparency import Checkpoint, TlogProof, merkle, sign_checkpoint
from sealgate.trust.transparency.tiles import Frontier, consistency_proof
from sealgate.v1 import log_pb2, registry_pb2
from tests.support.builders.documents.people import ANSWER_LOG, NOW, key, make_policy, sign_policy
from tests.support.fakes.tile_store import TileStore

NONCE = "AAECAwQFBgcICQoLDA0ODw"
QUESTION = PreparedRequest.of("digits", {"x": np.zeros((1, 4), np.float32)}, id="7")


class Failed(grpc.RpcError, grpc.Call):
    """A call's failure as the blocking API raises it."""

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: Reason | str | None = None,
        retry_after: float | None = None,
        receipt: bytes | None = None,
        details: Sequence[any_pb2.Any] = (),
    ) -> None:
        status = status_pb2.Status(code=code.value[0], message="refused", details=details)
        if reason is not None:
            name = reason.name if isinstance(reason, Reason) else reason
            info = error_details_pb2.ErrorInfo(reason=name, domain="sealgate")
            status.details.add().Pack(info)
        if retry_after is not None:
            delay = duration_pb2.Duration()
            delay.FromNanoseconds(int(retry_after * 1e9))
            status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
        self.status = code
        self.metadata = list(rpc_status.to_status(status).trailing_metadata)
        if receipt is not None:
            self.metadata.append((RECEIPT_METADATA, receipt))

    def code(self) -> grpc.StatusCode:
        return self.status

    def details(self) -> str:
        return "refused"

    def trailing_metadata(self) -> list[tuple[str, Any]]:
        return self.metadata


def said_of(request: oip.ModelInferRequest) -> dict[str, str]:
    """The fields of a request's entry beside its model and its tensors."""
    alias = request.parameters["alias"].string_param if "alias" in request.parameters else ""
    return {
        "alias": "" if request.model_version else alias or "production",
        "parameters": parameters_digest(request),
        "request_id": request.id,
    }


class FakeGateway:
    """Answers whatever it is asked with zeros, for the principal carla, at the time `now`.

    `failures` are raised first, one for each ModelInfer; `change` may alter a record's values
    before they are logged; `calls` and `pauses` are what the client did. One that is `older` writes
    entries of v1, and knows no nonce.
    """

    def __init__(self, now: Callable[[], datetime], policy: Policy | None = None) -> None:
        self.now = now
        self.policies = [policy or make_policy()]
        self.leaves: list[bytes] = []
        self.failures: list[Failed] = []
        self.change: Callable[[dict[str, str]], None] = lambda values: None
        self.signer = "answer-log"
        self.older = False
        self.calls: list[str] = []
        self.pauses: list[float] = []

    def run(self, steps: Steps[Any]) -> Any:
        """Drives an exchange to its end."""
        try:
            step = next(steps)
            while True:
                try:
                    result = self.perform(step)
                except grpc.RpcError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as done:
            return done.value

    def perform(self, step: Rpc | Pause) -> Any:
        if isinstance(step, Pause):
            self.pauses.append(step.seconds)
            return None
        self.calls.append(step.method)
        return getattr(self, step.method)(step.request)

    def ModelInfer(self, request: oip.ModelInferRequest) -> oip.ModelInferResponse:  # noqa: N802
        if self.failures:
            raise self.failures.pop(0)
        if self.older and "nonce" in request.parameters:
            raise Failed(grpc.StatusCode.INVALID_ARGUMENT, Reason.PARAMETER_MALFORMED)
        inputs = read_inputs(request).values()
        output = Tensor.of("y", np.zeros((1, 2), np.float32))
        response = oip.ModelInferResponse(
            model_name=request.model_name, model_version="1", id=request.id
        )
        write_outputs(response, [output])
        receipt = self.record(
            model=request.model_name,
            version="1",
            input=digest_of(inputs),
            output=digest_of([output]),
            outcome="answered",
            **said_of(request),
        )
        response.parameters["receipt"].string_param = receipt.decode()
        return response

    def GetPolicy(self, _: Any) -> registry_pb2.GetPolicyResponse:  # noqa: N802
        envelopes = [sign_policy(policy).encode() for policy in self.policies]
        return registry_pb2.GetPolicyResponse(envelopes=envelopes)

    def ListLogs(self, _: Any) -> log_pb2.ListLogsResponse:  # noqa: N802
        return log_pb2.ListLogsResponse(origins=[ANSWER_LOG])

    def GetCheckpoint(self, _: Any) -> log_pb2.GetCheckpointResponse:  # noqa: N802
        return log_pb2.GetCheckpointResponse(note=self.note())

    def GetConsistencyProof(  # noqa: N802
        self, request: log_pb2.GetConsistencyProofRequest
    ) -> log_pb2.GetConsistencyProofResponse:
        if request.new_size > len(self.leaves):
            raise Failed(grpc.StatusCode.NOT_FOUND, Reason.ENTRY_UNKNOWN)
        store = TileStore()
        store.put(self._frontier(request.new_size).tiles)
        hashes = consistency_proof(store, request.old_size, request.new_size)
        return log_pb2.GetConsistencyProofResponse(hashes=hashes)

    def record(self, **values: str) -> bytes:
        """Logs an entry and returns its receipt."""
        known = {
            "time": format_micros(self.now()),
            "principal": "carla",
            "method": "/inference.GRPCInferenceService/ModelInfer",
            "policy_digest": self.policies[-1].digest,
            **values,
        }
        self.change(known)
        names = V1_FIELDS if self.older else FIELDS
        listed = tuple(known.get(field, "") for field in names)
        salts = answer_entry.salts(b"k" * 32, len(self.leaves).to_bytes(16), len(names))
        entry = answer_entry.leaf(listed, salts)
        self.leaves.append(entry)
        index = len(self.leaves) - 1
        path = self._frontier(len(self.leaves)).inclusion_proof(index)
        proof = TlogProof(index, tuple(path), self.note())
        return Receipt.of(entry, listed, salts, proof).encode()

    def others(self, count: int) -> None:
        """Logs what other callers asked."""
        self.leaves += [b"other %d" % (len(self.leaves) + n) for n in range(count)]

    def note(self) -> str:
        root = self._frontier(len(self.leaves)).root
        return sign_checkpoint(Checkpoint(ANSWER_LOG, len(self.leaves), root), key(self.signer))

    def _frontier(self, size: int) -> Frontier:
        return Frontier.empty().append([merkle.leaf_hash(leaf) for leaf in self.leaves[:size]])


class ClientHarness:
    """A gateway and a client of it, with a clock that tests move."""

    def __init__(self, **settings):
        self.now, self.elapsed = NOW, 0.0
        self.gateway = FakeGateway(lambda: self.now)
        roots = [key(f"root-{n}").public.pem for n in range(3)]
        self.exchange = Exchange(
            settings.get("roots", PinnedRoots.of(roots, 2)),
            settings.get("caller", CallerIdentity(None, lambda: ("mtls:carla",))),
            settings.get("witness", ConsistencyChecker()),
            settings.get("retries", Retries()),
            now=lambda: self.now,
            monotonic=lambda: self.elapsed,
            chance=lambda: 0.5,
            nonce=settings.get("nonce", lambda: NONCE),
            takes_v1=settings.get("takes_v1", False),
        )

    def ask(self, question=QUESTION, seconds=10.0):
        return self.gateway.run(self.exchange.ask(question, seconds))
