"""Sends a version's golden inputs through the gateway and compares the answers.

Expected answers come from the version's own signed files. The registry hands them out, and is not
believed: the manifest's signature is checked from the pinned root keys, every file is hashed, and
the answer's receipt must name the very digest.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from sealgate.client.client import Client
from sealgate.client.request import InferResult, PreparedRequest
from sealgate.health import golden_inputs
from sealgate.health.findings import CheckState, HealthFinding, refused_finding
from sealgate.health.golden_inputs import GoldenPrompts, GoldenRows
from sealgate.promotion.documents import Governance
from sealgate.reasons import Reason, SealgateError
from sealgate.signed_version import SignedVersion
from sealgate.trust.policy import Policy
from sealgate.v1.registry_pb2 import GetPointerRequest
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

GOLDEN_CHECK = "golden"
# Screening may withhold a golden answer: its bound is no promise for a single row.
_WITHHELD = frozenset(
    {
        Reason.ADVERSARIAL_INPUT,
        Reason.PROMPT_INJECTION,
        Reason.STEP_UP,
        Reason.SESSION_BLOCKED,
    }
)
PAUSE_SECONDS = 1.0

Golden: TypeAlias = GoldenRows | GoldenPrompts


@dataclass(frozen=True, slots=True)
class GoldenTarget:
    """The version that an alias points at."""

    model: str
    alias: str
    version: int
    digest: str

    @property
    def subject(self) -> str:
        return f"{self.model}/{self.alias}"

    @property
    def labels(self) -> dict[str, str]:
        return {"model": self.model, "alias": self.alias, "version": str(self.version)}


class _Moved(Exception):
    """The alias answers with another version than it named a moment ago."""


@dataclass(frozen=True, slots=True)
class GoldenOptions:
    """A version that was asked its golden inputs, and what was found."""

    live: GoldenTarget
    golden: Golden
    found: HealthFinding


@dataclass(frozen=True, slots=True)
class GoldenCheck:
    """Asks `rows` golden inputs of an alias, one by one. Answers may be off by `tolerance`,
    absolute and relative; `timeout` is in seconds, for each.
    """

    client: Client
    registry: RegistryServiceStub
    policies: tuple[Policy, ...]
    rows: int
    tolerance: float
    timeout: float

    def of(self, model: str, alias: str) -> GoldenOptions:
        """The alias's version and its answers; asked once more where the alias moved meanwhile.

        Raises grpc.RpcError with the gateway's reason, and SealgateError where files are not those
        that were signed, or RIGHT_MISSING where the policy does not let us ask.
        """
        for last in (False, True):
            live = self._live(model, alias)
            golden = self._golden(live)
            try:
                return GoldenOptions(live, golden, self.run(live, golden))
            except _Moved:
                if not last:
                    time.sleep(PAUSE_SECONDS)
        detail = "it answers with another version than its pointer names"
        return GoldenOptions(
            live,
            golden,
            HealthFinding(GOLDEN_CHECK, live.subject, CheckState.WRONG, detail, live.labels),
        )

    def again(self, asked: GoldenOptions) -> HealthFinding:
        """Check the same version once more. Raises SealgateError(SEQUENCE_STALE) where its alias
        has moved.
        """
        time.sleep(PAUSE_SECONDS)
        try:
            return self.run(asked.live, asked.golden)
        except _Moved:
            raise SealgateError(Reason.SEQUENCE_STALE, "it has moved") from None

    def _live(self, model: str, alias: str) -> GoldenTarget:
        request = GetPointerRequest(name=f"models/{model}/aliases/{alias}")
        pointer = self.registry.GetPointer(request).pointer
        return GoldenTarget(model, alias, pointer.version, pointer.digest)

    def _golden(self, live: GoldenTarget) -> Golden:
        signed = SignedVersion.fetch(self.registry, self.policies, live.model, live.version)
        if signed.manifest.digest != live.digest:
            raise SealgateError(Reason.DIGEST_MISMATCH, "the pointer names another digest")
        paths = {entry.path for entry in signed.manifest.files}
        if golden_inputs.TERMS in paths:
            return GoldenPrompts.of(
                *(signed.file(self.registry, each) for each in golden_inputs.PROMPT_FILES)
            )
        return GoldenRows.of(
            *(signed.file(self.registry, each) for each in golden_inputs.ROW_FILES)
        )

    def run(self, live: GoldenTarget, golden: Golden) -> HealthFinding:
        questions = list(golden.questions(live.model, live.alias, self.rows))
        if not questions:
            return _nothing(live, "it is too narrow for any text that we know")
        tally = _Tally()
        for question, expected in questions:
            began = time.monotonic()
            try:
                answer = self._ask(live, question)
            except SealgateError as refusal:
                if refusal.reason is golden.incomparable:
                    return _nothing(live, "it answers to chats alone, and tells no tokens")
                if refusal.reason is Reason.RIGHT_MISSING:
                    raise
                if refusal.reason not in _WITHHELD:
                    found = {"labels": live.labels, "numbers": tally.numbers()}
                    return refused_finding(GOLDEN_CHECK, live.subject, refusal, **found)
                tally.withheld += 1
                continue
            tally.add(*golden.compare(answer, expected, self.tolerance))
            tally.slowest = max(tally.slowest, time.monotonic() - began)
        return HealthFinding(
            GOLDEN_CHECK, live.subject, *tally.verdict(), live.labels, tally.numbers()
        )

    def _ask(self, live: GoldenTarget, question: PreparedRequest) -> InferResult:
        answer = self.client.ask(question, self.timeout)
        if answer.receipt.fields["version_digest"] != live.digest:
            raise _Moved
        return answer


def _nothing(live: GoldenTarget, why: str) -> HealthFinding:
    return HealthFinding(
        GOLDEN_CHECK, live.subject, CheckState.WELL, f"nothing compared: {why}", live.labels
    )


@dataclass(slots=True)
class _Tally:
    same: int = 0
    different: int = 0
    withheld: int = 0
    largest: float = 0.0
    slowest: float = 0.0

    def add(self, same: bool, off: float) -> None:
        self.same += same
        self.different += not same
        self.largest = max(self.largest, off)

    def verdict(self) -> tuple[CheckState, str]:
        total = self.same + self.different + self.withheld
        if self.different:
            off = f", by up to {self.largest:g}" if self.largest else ""
            return CheckState.WRONG, f"{self.different} of {total} golden answers differ{off}"
        if not self.same:
            return CheckState.WRONG, f"screening lets none of {total} golden inputs pass"
        kept = f"; screening withheld {self.withheld}" if self.withheld else ""
        return CheckState.WELL, f"{self.same} golden answers came out{kept}"

    def numbers(self) -> dict[str, float]:
        return {
            "same": self.same,
            "different": self.different,
            "withheld": self.withheld,
            "largest_difference": self.largest,
            "slowest_seconds": self.slowest,
        }


ROLLBACK_CHECK = "rollback"
_PROMOTE = "promote"


def failures_allowed(policy: Policy, model: str, alias: str) -> int | None:
    """After how many failed checks in a row the policy lets the alias be returned; None: never."""
    limits = policy.health.limits(model, alias) if policy.health is not None else None
    return limits.golden_failures if limits is not None else None


def keeps_failing(
    first: HealthFinding, times: int, again: Callable[[], HealthFinding]
) -> HealthFinding:
    """The last of `times` checks, of which `first` is one, as long as each finds answers that
    differ; or else the first that does not.
    """
    found = first
    for _ in range(times - 1):
        if not differs(found):
            break
        found = again()
    return found


def differs(finding: HealthFinding) -> bool:
    """Whether golden answers came out otherwise. Gateways themselves count requests that a version
    does not answer at all.
    """
    return finding.state is CheckState.WRONG and finding.numbers.get("different", 0) > 0


def return_alias(service: Governance, failed: GoldenTarget, reason: str) -> HealthFinding:
    """Have the alias return from the version that failed. Raises grpc.RpcError, and SealgateError:
    ROLLBACK_TARGET where the last move was no promotion or there is nothing to return to,
    SEQUENCE_STALE where it has moved.
    """
    moves = service.moves(failed.model, failed.alias)
    live = next(moves)
    if live.digest != failed.digest:
        raise SealgateError(Reason.SEQUENCE_STALE, "it has moved")
    if live.action != _PROMOTE:
        raise SealgateError(Reason.ROLLBACK_TARGET, "it was rolled back already, since a promotion")
    before = next((move for move in moves if move.digest != failed.digest), None)
    if before is None:
        raise SealgateError(Reason.ROLLBACK_TARGET, "the alias has never named another version")
    why = f"automatic: {reason}"
    pointer = service.rollback(failed.model, failed.alias, before.version, why)
    detail = f"back at version {pointer.version}"
    return HealthFinding(ROLLBACK_CHECK, failed.subject, CheckState.WRONG, detail)
