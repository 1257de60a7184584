"""The stream of a log: leaves and signed checkpoints, which a follower checks on its own."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from sealgate.audit import Auditor
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.transparency import merkle, open_checkpoint
from sealgate.v1 import log_pb2
from tests.support.harness.gateway import question, refusal, rows


@pytest.fixture
def policy(harness):
    return harness.governance("auditor").policy()


@pytest.fixture
def answers(harness):
    return harness.gateway.store.answers.origin


def watch(harness, origin, **start):
    request = log_pb2.WatchLogRequest(origin=origin, **start)
    return harness.logs().WatchLog(request, timeout=60)


def ask(harness):
    harness.inference().ModelInfer(question("digits", rows()), timeout=60)


def test_leaves_from_the_beginning_lead_to_each_signed_root(harness, answers, policy):
    for _ in range(40):
        ask(harness)
    stream, leaves, checkpoints = watch(harness, answers, start=0), [], 0
    for message in stream:
        assert message.index == len(leaves)
        leaves += message.leaves
        if message.note:
            checkpoint = open_checkpoint(message.note, policy.log_key(answers))
            assert checkpoint.size == len(leaves)
            assert checkpoint.root == merkle.root([merkle.leaf_hash(leaf) for leaf in leaves])
            checkpoints += 1
            if checkpoints == 3:
                break
            ask(harness)
    stream.cancel()


def test_from_now_the_first_message_is_the_newest_checkpoint(harness, answers, policy):
    stream = watch(harness, answers)
    first = next(stream)
    assert open_checkpoint(first.note, policy.log_key(answers)).size == first.index
    assert not first.leaves
    ask(harness)
    assert next(stream).index == first.index
    stream.cancel()


def test_what_cannot_be_followed_is_refused(harness, answers):
    assert refusal(next, watch(harness, "no/log")) is Reason.LOG_UNKNOWN
    assert refusal(next, watch(harness, answers, start=1_000_000)) is Reason.ENTRY_UNKNOWN
    assert refusal(next, watch(harness, answers, start=-1)) is Reason.ENTRY_UNKNOWN


def rewritten(logs, change):
    """A gateway's stream of a log, changed on its way."""

    def watch_log(request, timeout):
        stream = logs.WatchLog(request, timeout=timeout)
        return Stream(stream, map(change, stream))

    return SimpleNamespace(WatchLog=watch_log, GetCheckpoint=logs.GetCheckpoint)


class Stream:
    def __init__(self, call, messages):
        self._call = call
        self._messages = messages

    def __iter__(self):
        return self._messages

    def cancel(self):
        self._call.cancel()


def changed_leaf(message):
    if message.leaves:
        message.leaves[0] = b"{}"
    return message


def left_out(message):
    message.index += 1
    return message


def foreign_note(message):
    message.note = message.note and message.note.replace("\n", "\n1", 1)
    return message


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (changed_leaf, Reason.LOG_INCONSISTENT),
        (left_out, Reason.LOG_INCONSISTENT),
        (foreign_note, Reason.SIGNATURE_INVALID),
    ],
)
def test_a_stream_that_lies_is_found_out(harness, answers, policy, change, reason):
    ask(harness)
    auditor = Auditor(harness.channel("auditor"), policy)
    auditor.logs = rewritten(auditor.logs, change)
    with pytest.raises(SealgateError) as caught:
        next(auditor.follow(answers))
    assert caught.value.reason is reason


def test_a_log_that_shrank_is_found_out(harness, answers, policy):
    auditor = Auditor(harness.channel("auditor"), policy)
    ask(harness)

    logs, streams = auditor.logs, []

    def watch_log(request, timeout):
        """The second time, as a gateway would answer whose log was put back."""
        if streams:
            request.start += 1_000_000
        streams.append(logs.WatchLog(request, timeout=60))
        return streams[-1]

    auditor.logs = SimpleNamespace(WatchLog=watch_log, GetCheckpoint=logs.GetCheckpoint)
    followed = auditor.follow(answers)
    next(followed)
    streams[0].cancel()
    with pytest.raises(SealgateError) as caught:
        list(followed)
    assert caught.value.reason is Reason.LOG_INCONSISTENT


def test_whoever_knows_a_checkpoint_goes_on_from_it(harness, answers, policy):
    auditor = Auditor(harness.channel("auditor"), policy)
    ask(harness)
    seen = next(auditor.follow(answers)).checkpoint
    ask(harness)
    asked, logs = [], auditor.logs

    def watch_log(request, timeout):
        asked.append(request.start)
        return logs.WatchLog(request, timeout=timeout)

    auditor.logs = SimpleNamespace(
        WatchLog=watch_log, GetCheckpoint=logs.GetCheckpoint, StreamHashes=logs.StreamHashes
    )
    grown = next(auditor.follow(answers, known=seen))
    assert grown.checkpoint.size > seen.size == grown.first
    assert len(grown.leaves) == grown.checkpoint.size - seen.size
    earlier = next(auditor.follow(answers, seen.size - 1, seen))
    assert earlier.first == seen.size - 1
    assert earlier.leaves[1:][: len(grown.leaves)] == grown.leaves
    # No entry that was checked before was had again.
    assert asked == [seen.size, seen.size - 1]


def test_another_log_than_was_known_is_found_out(harness, answers, policy):
    auditor = Auditor(harness.channel("auditor"), policy)
    ask(harness)
    seen = next(auditor.follow(answers)).checkpoint
    for known in (replace(seen, root=bytes(32)), replace(seen, size=seen.size + 1_000_000)):
        with pytest.raises(SealgateError) as caught:
            next(auditor.follow(answers, known=known))
        assert caught.value.reason is Reason.LOG_INCONSISTENT


@pytest.fixture
def followed(harness, monkeypatch):
    """Runs a command that goes on for ever, until the stream's own bound comes for the first time:
    a longer one where that has told of nothing `enough` for the test.
    """
    monkeypatch.setattr("sealgate.remote.calls.PASSING", frozenset())

    def run(*words, enough=lambda lines: bool(lines)):
        for seconds in (1.0, 4.0, 16.0, 40.0):
            monkeypatch.setattr("sealgate.remote.calls.STREAM_SECONDS", seconds)
            result = harness.command(*words)
            if enough(result.stdout.splitlines()):
                break
        return result

    return run


def test_the_command_keeps_what_it_knows(harness, followed, tmp_path):
    words = ("audit", "follow", "registry", "--json", "--known", str(tmp_path / "seen.json"))
    told = json.loads(followed(*words).stdout.splitlines()[-1])
    (note,) = json.loads((tmp_path / "seen.json").read_text())["logs"].values()
    assert note.splitlines()[1] == str(told["checkpoint"])
    harness.propose("digits", 1)
    lines = [json.loads(line) for line in followed(*words).stdout.splitlines()]
    # From where it was, and of what the gateway itself writes there as well.
    assert lines[0]["entry"] == told["checkpoint"]
    assert [line.get("event") for line in lines].count("proposal.created") == 1
    (note,) = json.loads((tmp_path / "seen.json").read_text())["logs"].values()
    assert note.splitlines()[1] == str(lines[-1]["checkpoint"])


def test_the_commands_print_a_line_an_event(harness, followed):
    ask(harness)
    told = followed("audit", "follow", "registry", "--from", "0", "--json")
    assert Reason.DEADLINE_TOO_SHORT.name in told.stderr
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    entries = [line for line in lines if "entry" in line]
    assert [line["entry"] for line in entries] == list(range(len(entries)))
    assert entries[0]["event"] == "policy.accepted"
    assert lines[-1]["checkpoint"] == len(entries)
    told = followed("audit", "follow", "answers", "--from", "0")
    assert "entry 0" in told.stdout
    assert "consistent" in told.stdout
    moved = "models/digits/aliases/production"
    watched = followed(
        *("model", "watch", "digits", "--from", "0"), enough=lambda lines: moved in str(lines)
    )
    assert "pointer-moved" in watched.stdout
    assert moved in watched.stdout
    kinds = ("--kind", "version-registered", "--json")
    watched = followed(
        *("model", "watch", "digits", "--from", "0", *kinds), enough=lambda lines: len(lines) == 2
    )
    told = [json.loads(line) for line in watched.stdout.splitlines()]
    assert [change["subject"] for change in told] == [
        "models/digits/versions/1",
        "models/digits/versions/2",
    ]
