"""Checks that a receipt belongs to the call that it came with.

1. It has the form of a receipt (DOCUMENT_MALFORMED), and its log, which the policy names, holds
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
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from sealgate.client.consistency import SeenCheckpoint
from sealgate.reasons import Reason, SealgateError
from sealgate.remote.errors import CheckedReceipt
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import PublicKey
from sealgate.trust.policy import Policy, open_policy_history
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.trust.receipts.answer_entry import FIELDS
from sealgate.trust.times import CLOCK_SKEW, parse_micros

INFER = "/inference.GRPCInferenceService/ModelInfer"
ANSWERED = "answered"


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
    for field, allowed in expected.values.items():
        if field in receipt.names and found[field] not in allowed:
            raise _mismatch(field)
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
