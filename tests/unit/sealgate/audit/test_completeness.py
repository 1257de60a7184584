"""Counts against entries: what is missing, and what cannot be told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sealgate.audit import compare_counts
from sealgate.audit.completeness import (
    SEPARATE,
    Completeness,
    RecordedCounts,
    note_entry,
    read_statements,
)
from sealgate.audit.entries import ProvedEntry
from sealgate.reasons import Reason
from sealgate.trust import canonical
from sealgate.trust.canonical import sha256
from sealgate.trust.keys import PrivateKey
from sealgate.trust.policy import Principal
from sealgate.trust.statements import sign_statement
from sealgate.trust.statements.covering import EngineCounts
from sealgate.trust.times import format_time
from tests.support.builders.documents.people import key, make_policy, refused

START = datetime(2026, 11, 25, 10, 0, 0, tzinfo=UTC)
DIGEST = "sha256:" + "1" * 64
OTHER = "sha256:" + "2" * 64
SLACK = timedelta(seconds=2)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def counts(seconds: float, number: int, **changes: object) -> EngineCounts:
    made = EngineCounts(
        engine="engine-1",
        instance="0a" * 16,
        sequence=int(seconds) + 1,
        since=format_time(START),
        time=format_time(at(seconds)),
        counts=((DIGEST, number, number),),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def ran(*seconds: float) -> dict[str, RecordedCounts]:
    return {DIGEST: RecordedCounts([at(s) for s in seconds])}


def only(
    statements: list[EngineCounts],
    recorded: dict[str, RecordedCounts],
    unknown: int = 0,
    now: float = 1e6,
) -> Completeness:
    (found,) = compare_counts(statements, recorded, unknown, SLACK, at(now))
    return found


def test_what_agrees_misses_nothing() -> None:
    found = only([counts(100, 3)], ran(1, 2, 3))
    assert (found.counted, found.recorded, found.missing, found.in_doubt) == (3, 3, 0, 0)


def test_a_withheld_entry_is_missing() -> None:
    assert only([counts(100, 4)], ran(1, 2, 3)).missing == 1


def test_later_entries_do_not_make_up_for_it() -> None:
    """The statement of that time still shows it."""
    statements = [counts(100, 4), counts(200, 14)]
    found = only(statements, ran(1, 2, 3, *range(150, 170)))
    assert (found.time, found.missing) == (format_time(at(100)), 1)


def test_what_was_on_its_way_is_no_gap() -> None:
    # It is counted when it has run, and recorded a little later; clocks differ too.
    found = only([counts(100, 2)], ran(1, 102.9))
    assert (found.missing, found.in_doubt) == (0, 1)
    assert only([counts(100, 2)], ran(1, 103.1)).missing == 1


def test_young_statements_are_left_out() -> None:
    assert compare_counts([counts(100, 2)], ran(1), 0, SLACK, at(102.9)) == []
    assert only([counts(100, 2)], ran(1), now=103.1).missing == 1


def test_a_restarted_engine_begins_at_nothing() -> None:
    statements = [counts(100, 3), counts(200, 2, instance="0b" * 16, since=format_time(at(150)))]
    assert only(statements, ran(1, 2, 3, 151, 152)).missing == 0
    assert only(statements, ran(1, 2, 3, 151)).missing == 1


def test_entries_without_an_answer_may_have_been_run() -> None:
    recorded = {DIGEST: RecordedCounts([at(1)], [at(2)])}
    found = only([counts(100, 2)], recorded)
    assert (found.missing, found.in_doubt) == (0, 1)


def test_what_nobody_can_open_may_be_about_any_version() -> None:
    found = only([counts(100, 4)], ran(1, 2), unknown=1)
    assert (found.missing, found.in_doubt) == (1, 1)


def test_a_version_without_any_entry() -> None:
    statement = counts(100, 3, counts=((DIGEST, 3, 3), (OTHER, 5, 5)))
    found = compare_counts([statement], ran(1, 2, 3), 0, SLACK, at(1e6))
    assert [(one.digest, one.missing) for one in found] == [(DIGEST, 0), (OTHER, 5)]


def test_only_entries_of_an_engine_of_its_own_count() -> None:
    recorded: dict[str, RecordedCounts] = {}
    values = {
        "engine": SEPARATE,
        "input": "sha256:" + "3" * 64,
        "verdict": "clean",
        "version_digest": DIGEST,
        "time": "2026-11-25T10:00:01.000000Z",
    }
    assert note_entry(recorded, values)
    assert note_entry(recorded, {**values, "verdict": ""})
    assert note_entry(recorded, {**values, "engine": "in process"})
    assert note_entry(recorded, {**values, "input": ""})
    assert not note_entry(recorded, None)
    assert recorded == {DIGEST: RecordedCounts([at(1)], [at(1)])}


@pytest.mark.parametrize(
    ("more", "verdict", "ran", "perhaps"),
    [
        ("; second on openvino", "clean", 1, 0),
        ("; 2 asked: second on openvino", "clean", 1, 1),
        ("; up to 3 asked: a on cpu, b, c", "", 0, 3),
        ("; second on openvino", "", 0, 1),
        # More than anyone has: no such words are ours, and nothing is believed of them.
        ("; 1000000000 asked: a", "clean", 1, 0),
        (", no longer", "clean", 0, 0),
    ],
)
def test_a_request_that_several_engines_were_asked_may_have_been_run_by_each(
    more: str, verdict: str, ran: int, perhaps: int
) -> None:
    recorded: dict[str, RecordedCounts] = {}
    values = {
        "engine": SEPARATE + more,
        "input": "sha256:" + "3" * 64,
        "verdict": verdict,
        "version_digest": DIGEST,
        "time": "2026-11-25T10:00:01.000000Z",
    }
    assert note_entry(recorded, values)
    found = recorded.get(DIGEST, RecordedCounts())
    assert (found.ran, found.perhaps) == ([at(1)] * ran, [at(1)] * perhaps)


def policy():
    """One that names an engine."""
    base = make_policy()
    public = key("engine-1").public
    engine = Principal("engine-1", ("engine",), (public.keyid,), ())
    return make_policy(
        principals=(*base.principals, engine), keys={**base.keys, public.keyid: public}
    )


def entry(index: int, statement: EngineCounts, signer: PrivateKey) -> ProvedEntry:
    envelope = sign_statement(statement, signer).encode()
    body = {
        "instance": statement.instance,
        "sequence": statement.sequence,
        "envelope": sha256(envelope),
    }
    leaf = canonical.encode(
        {
            "type": "sealgate/entry/v1",
            "event": "engine.counted",
            "time": format_time(START),
            "principal": "gateway",
            "subject": "engines/engine-1",
            "body": body,
        }
    )
    return ProvedEntry.read(index, leaf, [envelope])


def test_statements_are_the_engines_own() -> None:
    statements = [counts(100, 3), counts(200, 5)]
    records = [entry(n, one, key("engine-1")) for n, one in enumerate(statements)]
    assert read_statements(records, [policy()]) == statements
    # One that a later policy no longer names was an engine then.
    assert read_statements(records, [policy(), make_policy(version=2)]) == statements
    with refused(Reason.SIGNER_MISMATCH):
        read_statements([entry(0, statements[0], key("mallory"))], [policy()])


@pytest.mark.parametrize("later", [counts(200, 2), counts(50, 5)])
def test_counts_that_went_back(later: EngineCounts) -> None:
    records = [entry(n, one, key("engine-1")) for n, one in enumerate([counts(100, 3), later])]
    with refused(Reason.LOG_INCONSISTENT):
        read_statements(records, [policy()])
