"""Engines' signed counts of requests are entries of the registry's log."""

import json
from dataclasses import replace

import pytest

from sealgate.reasons import Reason
from sealgate.trust.policy import Principal
from sealgate.trust.statements import sign_statement
from sealgate.trust.statements.covering import EngineCounts
from tests.support.builders.documents.people import VERSION_DIGEST, at, key, refused
from tests.support.harness.registry import RegistryHarness

COUNTS = EngineCounts("engine-1", "0f" * 16, 1, at(hours=-1), at(), ((VERSION_DIGEST, 2, 7),))


@pytest.fixture
def harness(empty_harness: RegistryHarness) -> RegistryHarness:
    harness = empty_harness.found()
    public = key("engine-1").public
    engine = Principal("engine-1", ("engine",), (public.keyid,), ())
    policy = harness.policy
    harness.accept(
        principals=(*policy.principals, engine), keys={**policy.keys, public.keyid: public}
    )
    return harness


def add(harness: RegistryHarness, counts: EngineCounts, signer: str = "engine-1") -> bool:
    envelope = sign_statement(counts, key(signer))
    return bool(harness.registry.engine_counts.add("gateway", envelope))


def test_counts_are_entries_that_the_record_verifies(harness: RegistryHarness) -> None:
    before = harness.registry.log.size()
    assert add(harness, COUNTS)
    more = replace(COUNTS, sequence=5, counts=((VERSION_DIGEST, 3, 9),))
    assert add(harness, more)
    other = replace(COUNTS, instance="0e" * 16)
    assert add(harness, other)
    entries = [json.loads(harness.registry.log.entry(before + n)) for n in range(3)]
    assert [entry["event"] for entry in entries] == ["engine.counted"] * 3
    assert [entry["subject"] for entry in entries] == ["engines/engine-1"] * 3
    assert [entry["body"]["sequence"] for entry in entries] == [1, 5, 1]
    assert harness.registry.engine_counts.newest(COUNTS.instance) == more
    kept = [EngineCounts.decode(item.payload) for item in harness.registry.engine_counts.all()]
    assert kept == [COUNTS, more, other]
    harness.registry.verify()


def test_nothing_new_is_no_entry(harness: RegistryHarness) -> None:
    assert not add(harness, replace(COUNTS, counts=()))
    assert add(harness, COUNTS)
    assert not add(harness, replace(COUNTS, sequence=2))
    assert harness.registry.engine_counts.newest(COUNTS.instance) == COUNTS
    assert harness.registry.engine_counts.newest("0e" * 16) is None


@pytest.mark.parametrize(
    "later",
    [
        replace(COUNTS, counts=((VERSION_DIGEST, 3, 9),)),
        replace(COUNTS, sequence=2, counts=((VERSION_DIGEST, 1, 7),)),
        replace(COUNTS, sequence=2, counts=()),
    ],
    ids=["same sequence", "fewer requests", "none any more"],
)
def test_counts_that_went_back(harness: RegistryHarness, later: EngineCounts) -> None:
    add(harness, COUNTS)
    with refused(Reason.LOG_INCONSISTENT):
        add(harness, later)


def test_only_an_engine_of_the_policy_may_say_so(harness: RegistryHarness) -> None:
    with refused(Reason.SIGNER_MISMATCH):
        add(harness, COUNTS, signer="engine-2")
    with refused(Reason.ROLE_TOO_LOW):
        add(harness, replace(COUNTS, engine="otto"), signer="otto")
    with refused(Reason.SIGNER_MISMATCH):
        add(harness, replace(COUNTS, engine="nobody"))
