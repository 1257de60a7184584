"""Versions and aliases as pages show them: verified from the pinned root keys on, or listed."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import pairwise

from console.display.charts import MOST_LINES, Line
from console.reading.gateway import PersonCalls
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.signed_version import SignedVersion, open_attached
from sealgate.trust.canonical import sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import CANARY_ALIAS, DEFAULT_ALIAS, SHADOW_ALIAS, EvidenceRules, Policy
from sealgate.trust.statements import Evidence, Manifest, PointerBundle, open_under, review_end
from sealgate.v1 import registry_pb2 as messages

_KEPT = 16
"""Versions that stay verified, those looked at last."""
Place = tuple[str, str]
"""A model and an alias."""
ALIASES = (DEFAULT_ALIAS, CANARY_ALIAS, SHADOW_ALIAS)
Pointers = Mapping[Place, messages.Pointer]
"""The newest pointer of each alias that has ever pointed at a version."""
_MOST_ALIASES = 200
VERDICTS = ("clean", "suspect", "adversarial")


@dataclass(frozen=True, slots=True)
class ShownVersion:
    """A version whose manifest its publisher has signed, with evidence that its makers have."""

    message: messages.Version
    number: int
    manifest: Manifest
    evidence: tuple[Evidence, ...]
    attached: tuple[Evidence, ...]

    def of(self, kind: str) -> Evidence | None:
        """The item of that kind, if there is one."""
        return next((item for item in self.evidence if item.kind == kind), None)


def list_versions(
    calls: PersonCalls, numbers: Mapping[str, Collection[int]]
) -> dict[str, list[messages.Version]]:
    """Of each model these of its versions, newest first: without signature and evidence, and as the
    registry tells them.
    """
    asked = {model: sorted(some) for model, some in numbers.items() if some}
    requests = [
        messages.ListVersionsRequest(
            model=model,
            page_size=len(some),
            filter=" OR ".join(f"version = {number}" for number in some),
            view=messages.VERSION_VIEW_BASIC,
        )
        for model, some in asked.items()
    ]
    pages = calls.recall_all("ListVersions", requests)
    return {m: list(reversed(page.versions)) for m, page in zip(asked, pages, strict=True)}


def is_screened(message: messages.Version) -> bool:
    """Whether its files have a graph that screens rows. Raises SealgateError(DIGEST_MISMATCH)."""
    if sha256(message.manifest) != message.digest:
        raise SealgateError(Reason.DIGEST_MISMATCH, f"the manifest of {message.name}")
    return Manifest.decode(message.manifest).screened


def read_version(calls: PersonCalls, model: str, number: int) -> ShownVersion:
    """Ask for a version and verify it, from the pinned root keys on.

    Raises SealgateError: reasons of `SignedVersion.of` and `open_under`, DIGEST_MISMATCH,
    EVIDENCE_MISMATCH.
    """
    name = f"models/{model}/versions/{number}"
    found = calls.recall("GetVersion", messages.GetVersionRequest(name=name)).version
    sent = _SentVersion(
        name,
        found.digest,
        found.publisher,
        found.manifest,
        found.signature,
        tuple(found.evidence),
        tuple(found.attached),
        tuple(policy.digest for policy in calls.policies),
        calls.policies,
    )
    return ShownVersion(found, number, *_verify(sent))


@dataclass(frozen=True, slots=True)
class _SentVersion:
    """The registry's documents on a version, and the policies: the basis of its verification."""

    name: str
    digest: str
    publisher: str
    manifest: bytes
    signature: bytes
    evidence: tuple[bytes, ...]
    attached: tuple[bytes, ...]
    policy_digests: tuple[str, ...]
    policies: tuple[Policy, ...] = field(compare=False, repr=False)


@lru_cache(_KEPT)
def _verify(sent: _SentVersion) -> tuple[Manifest, tuple[Evidence, ...], tuple[Evidence, ...]]:
    """The manifest, the evidence, and what was attached later. The same bytes under the same
    policies are verified once: the version in production is looked at beside each other one.
    """
    signed = SignedVersion.of(
        sent.name, sent.manifest, sent.signature, sent.publisher, sent.policies
    )
    if sent.digest != sha256(sent.manifest):
        raise SealgateError(Reason.DIGEST_MISMATCH, f"the manifest of {sent.name}")
    evidence = tuple(
        open_under(Envelope.decode(item), Evidence, sent.policies, EvidenceRules.MAKERS)
        for item in sent.evidence
    )
    if any(item.version_digest != sent.digest for item in evidence):
        raise SealgateError(Reason.EVIDENCE_MISMATCH, sent.name)
    return signed.manifest, evidence, open_attached(sent.attached, sent.digest, sent.policies)


def newest_pointer(calls: PersonCalls, model: str, alias: str) -> messages.Pointer | None:
    """The newest pointer of an alias; None where it has never pointed at a version."""
    request = messages.GetPointerRequest(name=f"models/{model}/aliases/{alias}")
    answers = calls.ask_all(calls.registry.GetPointer, [request], Reason.ALIAS_UNKNOWN)
    return None if answers[0] is None else answers[0].pointer


def newest_pointers(calls: PersonCalls, models: Collection[str]) -> Pointers:
    """The newest pointers of all aliases of these models."""
    requests = [
        messages.ListPointersRequest(
            name=f"models/{model}/aliases/-", filter="newest:*", page_size=_MOST_ALIASES
        )
        for model in models
    ]
    answers = calls.recall_all("ListPointers", requests)
    return {
        (model, alias_of(pointer)): pointer
        for model, answer in zip(models, answers, strict=True)
        for pointer in answer.pointers
    }


def alias_of(pointer: messages.Pointer) -> str:
    return pointer.name.rpartition("/")[2]


def health(calls: PersonCalls) -> dict[tuple[str, str], str]:
    """`ready`, or why not, of each version that this gateway should have loaded."""
    return begin_health(calls)()


def begin_health(calls: PersonCalls) -> Callable[[], dict[tuple[str, str], str]]:
    """Ask for the health now; what is returned waits for it."""
    answer = calls.begin(calls.inference.RepositoryIndex, oip.RepositoryIndexRequest())

    def read() -> dict[tuple[str, str], str]:
        try:
            found = answer()
        except SealgateError as refusal:
            if refusal.reason is Reason.RIGHT_MISSING:
                return {}
            raise
        return {
            (item.name, item.version): "ready" if item.state == "READY" else item.reason
            for item in found.models
        }

    return read


def health_word(
    loaded: dict[tuple[str, str], str], model: str, pointer: messages.Pointer | None
) -> str:
    """`ready`, or why not, of what an alias points at; empty where that is not known."""
    return "" if pointer is None else loaded.get((model, str(pointer.version)), "")


def review_ends(pointers: Pointers, policy: Policy) -> dict[Place, datetime]:
    """Until when the approvals of each alias's version count, where the policy says for how long.

    Raises SealgateError(DOCUMENT_MALFORMED).
    """
    ends = {
        place: review_end(PointerBundle.decode(pointers[place].bundle), policy)
        for place in sorted(pointers)
    }
    return {place: end for place, end in ends.items() if end is not None}


@dataclass(frozen=True, slots=True)
class TrafficSeries:
    """Rates and means between one sample and the next: answers a second, milliseconds an answer,
    refusals and verdicts a minute. `times` are the samples' own, in seconds since 1970.
    """

    times: tuple[float, ...]
    answered: tuple[float | None, ...]
    milliseconds: tuple[float | None, ...]
    refused: tuple[Line, ...]
    verdicts: tuple[Line, ...]
    drift: tuple[float | None, ...]


def series_of(samples: Sequence[oip.StatisticsSample]) -> TrafficSeries | None:
    """The series of a version's samples; None of fewer than three, which are no line yet."""
    moments = [
        pair
        for pair in pairwise(samples)
        if pair[1].time > pair[0].time and pair[1].answered.count >= pair[0].answered.count
    ]
    if len(moments) < 2:
        return None
    grown = [(after.time - before.time) / 1e3 for before, after in moments]
    counts = [after.answered.count - before.answered.count for before, after in moments]
    nanoseconds = [after.answered.ns - before.answered.ns for before, after in moments]
    last = samples[-1]
    reasons = sorted(last.refused, key=lambda reason: -last.refused[reason])[:MOST_LINES]
    return TrafficSeries(
        times=tuple(after.time / 1e3 for _, after in moments),
        answered=tuple(count / seconds for count, seconds in zip(counts, grown, strict=True)),
        milliseconds=tuple(
            ns / count / 1e6 if count else None
            for ns, count in zip(nanoseconds, counts, strict=True)
        ),
        refused=tuple(
            Line(
                reason.replace("_", " ").lower(),
                _a_minute([b.refused[reason] - a.refused[reason] for a, b in moments], grown),
            )
            for reason in reasons
        ),
        verdicts=tuple(
            Line(name, _a_minute([b.verdicts[name] - a.verdicts[name] for a, b in moments], grown))
            for name in VERDICTS
        ),
        drift=tuple(b.drift if b.HasField("drift") else None for _, b in moments),
    )


def _a_minute(counts: Sequence[int], seconds: Sequence[float]) -> tuple[float, ...]:
    return tuple(60 * count / each for count, each in zip(counts, seconds, strict=True))
