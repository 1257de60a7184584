"""Policies that others signed, that have ended, or that are malformed, under a good receipt."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from sealgate.trust import canonical, dsse
from sealgate.trust.policy import Policy
from sealgate.trust.policy.validity import FormerLogKey, FormerLogKeys, GracePeriod
from sealgate.trust.transparency import note
from tests.support.builders.documents.people import (
    ANSWER_LOG,
    REGISTRY_LOG,
    at,
    key,
    make_policy,
    sign_policy,
)
from tests.support.builders.documents.receipt_cases import (
    BASE,
    ENVELOPE,
    EXPECTED,
    POLICY,
    SIZE,
    Case,
    made,
    signed_by,
)


def odd_policies() -> Iterator[Case]:
    """All of them."""

    def refused(name: str, reason: str, *policies: str, **changes: Any) -> Case:
        return replace(BASE, name=name, policies=policies, reason=reason, **changes)

    second = make_policy(version=2)
    yield refused("no policy", "POLICY_INVALID")
    yield refused(
        "one root key", "THRESHOLD_NOT_MET", sign_policy(POLICY, "root-0").encode().decode()
    )
    yield refused(
        "others' keys", "THRESHOLD_NOT_MET", sign_policy(POLICY, "anna", "arne").encode().decode()
    )
    twice = json.loads(sign_policy(POLICY, "root-0").encode())
    twice["signatures"] *= 2
    yield refused("one key twice", "DOCUMENT_MALFORMED", canonical.encode(twice).decode())
    borrowed = json.loads(ENVELOPE)
    borrowed["signatures"][1]["sig"] = borrowed["signatures"][0]["sig"]
    yield refused("a borrowed signature", "SIGNATURE_INVALID", canonical.encode(borrowed).decode())
    other = dsse.sign(
        "application/vnd.sealgate.proposal.v1+json", POLICY.encode(), key("root-0"), key("root-1")
    )
    yield refused("signed as another thing", "SIGNATURE_INVALID", other.encode().decode())
    yield refused(
        "a version left out", "POLICY_INVALID", ENVELOPE, signed_by(make_policy(version=3))
    )
    yield refused("an older one behind", "POLICY_ROLLED_BACK", signed_by(second), ENVELOPE)
    yield refused("the same again", "POLICY_ROLLED_BACK", ENVELOPE, ENVELOPE)
    stranger = signed_by(second, "anna", "arne")
    yield refused("a successor that others signed", "THRESHOLD_NOT_MET", ENVELOPE, stranger)
    yield refused("an expired one", "POLICY_EXPIRED", ENVELOPE, now=at(days=300))
    grace = make_policy(grace=GracePeriod(60))
    receipt = made(EXPECTED | {"policy_digest": grace.digest})
    for name, second_of, reason in (("in", 59, ""), ("after", 60, "POLICY_EXPIRED")):
        now = at(days=300, seconds=second_of)
        policies = (signed_by(grace),)
        yield replace(
            BASE,
            name=f"{name} its grace",
            receipt=receipt,
            policies=policies,
            now=now,
            reason=reason,
        )
    yield from _of_former_keys()
    yield from _of_malformed_policies()


def _of_former_keys() -> Iterator[Case]:
    """The log's key was replaced after it had signed the receipt's checkpoint, or before."""
    former = note.vkey(ANSWER_LOG, key("another-log").public)
    for name, size, reason in (
        ("a former key", None, ""),
        ("a former key within its size", SIZE, ""),
        ("a former key beyond its size", SIZE - 1, "SIGNATURE_INVALID"),
    ):
        keys = FormerLogKeys({ANSWER_LOG: (FormerLogKey(former, size),)})
        policy = make_policy(former_logs=keys)
        receipt = made(EXPECTED | {"policy_digest": policy.digest}, signer=key("another-log"))
        policies = (signed_by(policy),)
        yield replace(BASE, name=name, receipt=receipt, policies=policies, reason=reason)


def _of_malformed_policies() -> Iterator[Case]:
    def invalid(name: str, change: Callable[[dict[str, Any]], Any], reason: str) -> Case:
        document = json.loads(POLICY.encode())
        change(document)
        payload = canonical.encode(document)
        receipt = made(EXPECTED | {"policy_digest": canonical.sha256(payload)})
        return replace(
            BASE, name=name, receipt=receipt, policies=(_payload(payload),), reason=reason
        )

    form, rule = "DOCUMENT_MALFORMED", "POLICY_INVALID"
    yield invalid("of another type", lambda d: d.update(type="sealgate/policy/v2"), form)
    yield invalid("version 0", lambda d: d.update(version=0), form)
    yield invalid("version 1.5", lambda d: d.update(version=1.5), form)
    yield invalid("version true", lambda d: d.update(version=True), form)
    yield invalid("version as text", lambda d: d.update(version="1"), form)
    yield invalid("version as a list", lambda d: d.update(version=[1]), form)
    for time in (
        "2027-02-30T10:00:00Z",
        "2027-01-01T10:00:00+00:00",
        "2027-01-01T10:00:00.5Z",
        "2027-01-01T24:00:00Z",
    ):
        yield invalid(f"until {time}", lambda d, time=time: d.update(expires=time), form)
    yield invalid("ended before it began", lambda d: d.update(expires=at(days=-20)), rule)
    yield invalid("a grace of 31 days", lambda d: d.update(grace={"seconds": 31 * 86400}), rule)
    yield invalid("a threshold of none", lambda d: d["root"].update(threshold=0), rule)
    yield invalid("a threshold of four", lambda d: d["root"].update(threshold=4), rule)
    yield invalid("a root key unlisted", lambda d: d["keys"].pop(d["root"]["keys"][0]), rule)
    yield invalid(
        "a root key twice", lambda d: d["root"]["keys"].append(d["root"]["keys"][0]), form
    )
    yield invalid("a key under another's id", _exchange_keys, rule)
    yield invalid("keys as a list", lambda d: d.update(keys=list(d["keys"])), form)
    yield invalid("a log twice", lambda d: d["logs"]["answers"].append(_renamed(ANSWER_LOG)), rule)
    yield invalid(
        "a log under the registry's name",
        lambda d: d["logs"].update(answers=[_renamed(REGISTRY_LOG)]),
        rule,
    )
    yield invalid("a log's hint", lambda d: d["logs"].update(answers=[_unhinted()]), form)
    yield invalid("a log's key as a list", lambda d: d["logs"].update(answers=[["a"]]), form)
    spaced = POLICY.encode().replace(b'"version":1', b'"version":1.0')
    yield replace(BASE, name="version 1.0", policies=(_payload(spaced),), reason=form)


def _exchange_keys(document: dict[str, Any]) -> None:
    keys, (first, second, _) = document["keys"], document["root"]["keys"]
    keys[first], keys[second] = keys[second], keys[first]


def _renamed(origin: str) -> str:
    return note.vkey(origin, key("another-log").public)


def _unhinted() -> str:
    name, hint, encoded = note.vkey(ANSWER_LOG, key("answer-log").public).split("+", 2)
    return f"{name}+{hint[::-1]}+{encoded}"


def _payload(payload: bytes) -> str:
    return dsse.sign(Policy.PAYLOAD_TYPE, payload, key("root-0"), key("root-1")).encode().decode()
