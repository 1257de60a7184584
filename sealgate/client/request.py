"""A request and its answer as numpy arrays, and the check that a receipt belongs to the call.

1. The receipt has the form of one (DOCUMENT_MALFORMED), and its log, which the policy names, holds
   the entry; see `verify_receipt`.
2. It is of the newest format (RECEIPT_OUTDATED), unless the client takes those of v1 too. An
   entry of v1 says nothing of alias and parameters: whoever relays a request could add them.
3. It opens every field that a caller may see, and they say what the caller knows of this very call:
   principal, method, model, version, alias, the digests of parameters and tensors, the request's
   id, the outcome (RECEIPT_MISMATCH). A nonce among the parameters makes them this call's alone.
4. It was decided under a policy of the chain (POLICY_INVALID).
5. It was recorded at the time of the call, by clocks that may differ by some minutes
   (RECEIPT_MISMATCH).

That the log only grew, and that the entry is this call's alone, the witness sees.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sealgate.client.consistency import SeenCheckpoint
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.remote.errors import CheckedReceipt
from sealgate.tensors import Array, Tensor, parameters_digest, read_inputs, write_inputs
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import PublicKey
from sealgate.trust.policy import DEFAULT_ALIAS, Policy, open_policy_history
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.trust.receipts.answer_entry import FIELDS, tensors_digest
from sealgate.trust.times import CLOCK_SKEW, parse_micros

LABEL = "label"
"""The output of an answer that the policy reduced to classes."""
INFER = "/inference.GRPCInferenceService/ModelInfer"
ANSWERED = "answered"


@dataclass(frozen=True, slots=True)
class InferResult:
    """A verified answer: `answer["logits"]` is the array of an output, read-only."""

    outputs: Mapping[str, Array]
    model: str
    version: int
    id: str
    receipt: CheckedReceipt

    def __getitem__(self, name: str) -> Array:
        return self.outputs[name]

    @property
    def classes(self) -> Array:
        """The likeliest class of each row, whether logits left or, by the policy, classes alone."""
        (found,) = self.outputs.values()
        return found if LABEL in self.outputs else found.argmax(axis=-1)


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A request and the digest of its inputs, which is taken here and nowhere else.

    Each time that it is asked a nonce is added to its parameters; one that it has is replaced.
    """

    request: oip.ModelInferRequest
    input_digest: str = field(init=False)

    def __post_init__(self) -> None:
        # The receipt is the point of asking here.
        self.request.parameters["receipt"].bool_param = True
        digest = self.digest_of_inputs(read_inputs(self.request))
        object.__setattr__(self, "input_digest", digest)

    @property
    def alias(self) -> str:
        """The alias that is asked; empty where a version is."""
        if self.request.model_version:
            return ""
        named = self.request.parameters
        return named["alias"].string_param if "alias" in named else DEFAULT_ALIAS

    def with_nonce(self, nonce: str) -> oip.ModelInferRequest:
        """The request with that nonce; without one where it is empty."""
        request = oip.ModelInferRequest()
        request.CopyFrom(self.request)
        request.parameters.pop("nonce", None)
        if nonce:
            request.parameters["nonce"].string_param = nonce
        return request

    def digest_of_inputs(self, inputs: Mapping[str, Tensor]) -> str:
        """Return the digest of the inputs that the receipt must contain."""
        return digest_of(inputs.values())

    def digest_of_outputs(self, outputs: Mapping[str, Tensor]) -> str:
        """Return the digest of the outputs that the receipt must contain."""
        return digest_of(outputs.values())

    @classmethod
    def of(
        cls,
        model: str,
        inputs: Mapping[str, npt.ArrayLike],
        *,
        version: int | None = None,
        alias: str | None = None,
        outputs: Sequence[str] = (),
        subject: str | None = None,
        allowance: str | None = None,
        id: str = "",
    ) -> Self:
        """The question to `version` of a model, or to what `alias` names, `production` by default.

        `outputs` are those wanted, all by default; `subject` names the person whom the data is
        about; `allowance` is a second person's, where screening asked for one (STEP_UP). Raises
        SealgateError for arrays that the gateway would refuse: TENSOR_DATATYPE, TENSOR_NOT_FINITE.
        """
        request = oip.ModelInferRequest(
            model_name=model, model_version="" if version is None else str(version), id=id
        )
        texts = {"alias": alias, "subject": subject, "allowance": allowance}
        for name, value in texts.items():
            if value is not None:
                request.parameters[name].string_param = value
        for output in outputs:
            request.outputs.add(name=output)
        write_inputs(
            request, [Tensor.of(name, np.asarray(value)) for name, value in inputs.items()]
        )
        return cls(request)


@dataclass(frozen=True, slots=True)
class RequestAttempt:
    """A question as it was sent once: `request` has the nonce; `sizes` are those of the logs, and
    `since` the time, before the call.
    """

    question: PreparedRequest
    request: oip.ModelInferRequest
    sizes: Mapping[str, int]
    since: datetime

    def values(self) -> dict[str, Collection[str]]:
        """Return the values that the receipt must contain about the request, in any outcome."""
        return {
            "alias": (self.question.alias,),
            "parameters": (parameters_digest(self.request),),
            "request_id": (self.request.id,),
        }


def digest_of(tensors: Any) -> str:
    """The digest that a receipt has of tensors."""
    return tensors_digest((t.name, t.datatype, t.shape, t.raw) for t in tensors)


@dataclass(frozen=True, slots=True)
class PinnedRoots:
    """The pinned keys, by key id, and how many of them must have signed the first policy."""

    keys: Mapping[str, PublicKey]
    threshold: int

    @classmethod
    def of(cls, pems: Iterable[str], threshold: int) -> Self:
        keys = {key.keyid: key for key in map(PublicKey.from_pem, pems)}
        return cls(keys, threshold)


@dataclass(frozen=True, slots=True)
class PolicyView:
    """The newest policy and the digests of all that led to it from the pinned roots."""

    newest: Policy
    digests: frozenset[str]

    @classmethod
    def open(
        cls, envelopes: Sequence[bytes], roots: PinnedRoots, now: datetime, seen_version: int
    ) -> Self:
        """Raises: POLICY_INVALID, POLICY_EXPIRED, POLICY_ROLLED_BACK, THRESHOLD_NOT_MET, …"""
        chain = [Envelope.decode(envelope) for envelope in envelopes]
        history = open_policy_history(chain, roots.keys, roots.threshold)
        newest = history[-1]
        if newest.version < seen_version:
            raise SealgateError(Reason.POLICY_ROLLED_BACK, f"{newest.version} after {seen_version}")
        newest.check_standing(now)
        digests = frozenset(policy.digest for policy in history)
        return cls(newest, digests)

    def stands(self, now: datetime) -> bool:
        """Whether the policy has not ended, its grace included."""
        try:
            self.newest.check_standing(now)
        except SealgateError:
            return False
        return True

    def principal(self, identities: Iterable[str]) -> str:
        """The name of whom all of these identities stand for. Raises: PRINCIPAL_UNKNOWN."""
        found = {p.name for p in map(self.newest.by_identity, identities) if p is not None}
        if len(found) != 1:
            raise SealgateError(Reason.PRINCIPAL_UNKNOWN, "by the caller's own credentials")
        return found.pop()


@dataclass(frozen=True, slots=True)
class ExpectedReceipt:
    """The values that a receipt may have in each field, and the time of the call.

    With `takes_v1` an entry of v1 does, which lacks some of the fields.
    """

    values: Mapping[str, Collection[str]]
    since: datetime
    until: datetime
    takes_v1: bool = False


def check_receipt(
    data: bytes, view: PolicyView, expected: ExpectedReceipt
) -> tuple[CheckedReceipt, SeenCheckpoint]:
    """Steps 1 to 5. Returns the receipt, and what it shows of the log for the witness."""
    # 1.
    receipt = Receipt.decode(data)
    verified = verify_receipt(receipt, view.newest)
    found = verified.fields
    # 2.
    if receipt.names != FIELDS and not expected.takes_v1:
        raise SealgateError(Reason.RECEIPT_OUTDATED, "an entry of v1")
    # 3.
    if not receipt.opens_for_caller:
        raise _mismatch("it keeps fields from the caller")
    for name, allowed in expected.values.items():
        if name in receipt.names and found[name] not in allowed:
            raise _mismatch(name)
    # 4.
    if found["policy_digest"] not in view.digests:
        raise SealgateError(Reason.POLICY_INVALID, "a receipt under a policy outside the chain")
    # 5.
    recorded = parse_micros(found["time"])
    if not expected.since - CLOCK_SKEW <= recorded <= expected.until + CLOCK_SKEW:
        raise _mismatch("time")
    note = receipt.proof.checkpoint_note
    return (
        CheckedReceipt(data, found, verified.checkpoint),
        SeenCheckpoint(verified.checkpoint, note, receipt.proof),
    )


def _mismatch(what: str) -> SealgateError:
    return SealgateError(Reason.RECEIPT_MISMATCH, what)
