"""An allowance: a second person's signed permission to answer one withheld request.

It stands for one request of one caller to one version, until it expires, and once. Its signer
should have seen the input: `input` is the digest of its tensors (`answer.tensors_digest`), which
that person's machine takes from the input itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import dsse, fields
from sealgate.trust.canonical import check_digest
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy, StepUpRule
from sealgate.trust.statements import base as form
from sealgate.trust.statements.base import Check, Statement
from sealgate.trust.times import CLOCK_SKEW, parse_time

NONCE_BYTES = 16
ALLOWED = "allowed"
"""The outcome of an entry of the answer log that says, in the place of its output, which allowance
let the caller's next entry pass.
"""


def _nonce(value: Any) -> str:
    fields.unhex(value, NONCE_BYTES)
    return str(value)


@dataclass(frozen=True, slots=True)
class Allowance(Statement):
    """`person` allows `caller` to have `input` answered by the version `digest` of `model`.

    `nonce` is random, 16 bytes in hexadecimal digits, so that the statement's own digest, which is
    logged, tells nothing of the input.
    """

    TYPE: ClassVar[str] = "sealgate/allowance/v1"
    PAYLOAD_TYPE: ClassVar[str] = "application/vnd.sealgate.allowance.v1+json"
    AUTHOR: ClassVar[str] = "person"
    CHECKS: ClassVar[Mapping[str, Check]] = {
        "caller": form.name,
        "model": form.name,
        "digest": check_digest,
        "input": check_digest,
        "person": form.name,
        "reason": form.sentence,
        "issued": form.time,
        "expires": form.time,
        "nonce": _nonce,
    }

    caller: str
    model: str
    digest: str
    input: str
    person: str
    reason: str
    issued: str
    expires: str
    nonce: str


@dataclass(frozen=True, slots=True)
class HeldRequest:
    """A request that steps up: its caller, model, version's digest and input's digest."""

    caller: str
    model: str
    digest: str
    input: str

    @classmethod
    def of(cls, allowance: Allowance) -> Self:
        """The request that an allowance lets pass."""
        return cls(allowance.caller, allowance.model, allowance.digest, allowance.input)


def open_allowance(
    envelope: Envelope, held: HeldRequest, step_up: StepUpRule, policy: Policy, now: datetime
) -> Allowance:
    """Return the allowance of an envelope if it lets this request pass.

    1. It is an allowance (SIGNATURE_INVALID for another type, DOCUMENT_MALFORMED).
    2. Its author, who is not the caller, has the role that the policy asks for, and alone signed it
       (ALLOWANCE_SIGNER, SIGNATURE_INVALID).
    3. It is of this caller, model, version and input (ALLOWANCE_MISMATCH).
    4. It has begun, has not expired, and lasts no longer than the policy lets it
       (ALLOWANCE_EXPIRED).

    That it is used once is for whoever records its use to say.
    """
    # 1.
    if envelope.payload_type != Allowance.PAYLOAD_TYPE:
        raise SealgateError(Reason.SIGNATURE_INVALID, f"signed as {envelope.payload_type}")
    allowance = Allowance.decode(envelope.payload)
    # 2.
    keys = policy.signing_keys_of(allowance.person)
    signed = [keyid for keyid, _ in envelope.signatures]
    able = keys and step_up.role in policy.principal(allowance.person).roles
    if not able or not keys.keys() >= set(signed) or allowance.person == held.caller:
        raise SealgateError(Reason.ALLOWANCE_SIGNER, allowance.person)
    dsse.verify(envelope, Allowance.PAYLOAD_TYPE, keys)
    # 3.
    if HeldRequest.of(allowance) != held:
        raise SealgateError(Reason.ALLOWANCE_MISMATCH)
    # 4.
    issued, expires = parse_time(allowance.issued), parse_time(allowance.expires)
    longest = timedelta(seconds=step_up.seconds)
    if not issued - CLOCK_SKEW <= now < expires or expires - issued > longest:
        raise SealgateError(Reason.ALLOWANCE_EXPIRED, f"{allowance.issued} to {allowance.expires}")
    return allowance
