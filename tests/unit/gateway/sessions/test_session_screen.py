"""The watch over sessions: what follows for whom, for how long, and across gateways."""

import hashlib
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gateway.config.optional_sections import SessionSettings
from gateway.sessions.sealed import SealedStore, open_sessions
from gateway.sessions.session_rows import START, OwnStore
from gateway.sessions.session_screen import SessionWatch
from inference.screening.detector import Verdict
from sealgate.reasons import Reason
from sealgate.settings import ConfigError
from sealgate.trust.keys import write_private_file
from tests.support.builders.documents.people import refused
from tests.support.builders.session_requests import (
    COLUMNS,
    DRAW,
    KEY,
    ROW,
    RULES,
    a_live,
    answered,
    ask,
    draw_anew,
    near,
)
from tests.support.fakes.clock import Clock
from tests.support.fakes.shared_sessions import SharedStore


@pytest.fixture(autouse=True)
def same_rows() -> None:
    draw_anew()


def test_a_search_has_its_consequence_for_its_caller_alone_and_ends() -> None:
    clock = Clock(0.0)
    watch = SessionWatch(key=KEY, clock=clock)
    found = [ask(watch, row) for row in near(4)]
    assert found[0] is found[1] is None
    assert found[-1] == "label-only"
    assert watch.found == {("digits", "search"): 1}
    honest = DRAW.random((1, 64), np.float32)
    assert ask(watch, honest) == "label-only"
    assert ask(watch, honest, caller="otto") is None
    assert ask(watch, honest, model="faces") is None
    clock.now = 60.0
    assert ask(watch, DRAW.random((1, 64), np.float32)) is None


def test_what_follows_outlasts_a_session_that_is_forgotten_for_others() -> None:
    clock = Clock(0.0)
    watch = SessionWatch(key=KEY, clock=clock)
    assert [ask(watch, row) for row in near(4)][-1] == "label-only"
    row = DRAW.random((1, 64), np.float32)
    for other in range(1100):
        assert ask(watch, row, caller=f"caller-{other}") is None
    assert len(watch.watched) <= 1024
    assert ask(watch, DRAW.random((1, 64), np.float32)) == "label-only"
    clock.now = 60.0
    assert ask(watch, DRAW.random((1, 64), np.float32)) is None


def test_without_rules_nothing_is_watched() -> None:
    watch = SessionWatch(key=KEY)
    assert [ask(watch, row, rules=None) for row in near(5)] == [None] * 5
    assert not watch.found


def test_rows_of_one_request_count_one_by_one_and_its_verdict_once() -> None:
    watch = SessionWatch(key=KEY)
    many = DRAW.random((30, 64), np.float32)
    assert ask(watch, many, verdict=Verdict.ADVERSARIAL) is None
    assert ask(watch, np.concatenate(near(4))) == "label-only"


def test_what_is_found_in_a_burst_holds_for_all_of_it() -> None:
    watch, live = SessionWatch(key=KEY), a_live(scaling=COLUMNS)
    prints = watch.prints(RULES, live, near(4))
    given = [(each, answered(1)) for each in prints]
    assert watch.observe(RULES, "carla", live, given).action == "label-only"
    assert watch.found == {("digits", "search"): 1}


def test_rows_of_another_form_are_not_read() -> None:
    """Gateways of the release before wrote rows of 296 bytes, and their head."""
    store = SharedStore()
    before = hashlib.blake2b(
        b"carla/digits", digest_size=16, key=hashlib.sha256(KEY).digest(), person=b"name"
    ).hexdigest()
    store.exchange(before, [bytes(12 + 296)], START)
    watch = SessionWatch(store, KEY)
    assert [ask(watch, row) for row in near(2)] == [None, None]
    assert len(store.exchange(before, [], START)[0]) == 1


def test_gateways_that_share_a_place_see_one_session() -> None:
    store = SharedStore()
    watches = [SessionWatch(store, KEY), SessionWatch(store, KEY)]
    found = [ask(watches[number % 2], row) for number, row in enumerate(near(4))]
    assert found[-1] == "label-only"
    # The other learns of it with the caller's next request.
    assert {ask(watch, DRAW.random((1, 64), np.float32)) for watch in watches} == {"label-only"}
    alone = [SessionWatch(key=KEY), SessionWatch(key=KEY)]
    assert [ask(alone[number % 2], row) for number, row in enumerate(near(4))] == [None] * 4


def test_a_place_needs_a_key_and_an_address_that_is_one(tmp_path) -> None:
    with pytest.raises(ConfigError, match="key"):
        SessionSettings("redis://localhost")
    with pytest.raises(ConfigError, match="cannot begin"):
        SessionSettings("http://localhost")
    short = tmp_path / "short.key"
    write_private_file(short, b"short")
    with pytest.raises(ConfigError, match="32 bytes"):
        open_sessions(SessionSettings("redis://localhost", short))
    open_ = tmp_path / "open.key"
    open_.write_bytes(KEY)
    open_.chmod(0o644)
    with refused(Reason.KEY_FILE_EXPOSED):
        open_sessions(SessionSettings("memory://", open_))
    open_.chmod(0o600)
    with pytest.raises(ConfigError, match="schema"):
        open_sessions(SessionSettings("postgresql://h/d?schema=a%20b", open_))
    open_sessions(SessionSettings("memory://", open_)).close()
    shared = open_sessions(SessionSettings("redis://localhost", open_))
    assert isinstance(shared.store, SealedStore)
    shared.close()


THREADS = 8


class Slow(Counter[tuple[str, str]]):
    """Leaves time between what is read and what is written."""

    def __getitem__(self, key: tuple[str, str]) -> int:
        value = super().__getitem__(key)
        time.sleep(0.01)
        return value


def test_findings_of_many_threads_are_all_counted() -> None:
    watch = SessionWatch(OwnStore(), KEY)
    watch.found = Slow()
    rows, ready = near(4), threading.Barrier(THREADS)

    def find(number: int) -> None:
        told = [ask(watch, row, caller=f"caller-{number}") for row in rows[:3]]
        assert told == [None] * 3
        ready.wait()
        assert ask(watch, rows[3], caller=f"caller-{number}") == "label-only"

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(find, range(THREADS)))
    assert dict(watch.found) == {("digits", "search"): THREADS}


def test_prints_of_a_burst_are_those_of_its_requests() -> None:
    watch = SessionWatch(OwnStore(), KEY)
    rows = np.random.default_rng(3)
    requests = [rows.random((count, 64), np.float32) for count in (1, 3, 2)]
    together = watch.prints(RULES, a_live(), requests)
    alone = [watch.prints(RULES, a_live(), [each])[0] for each in requests]
    for some, others in zip(together, alone, strict=True):
        assert some is not None
        assert others is not None
        assert some == others


def test_prints_of_requests_of_several_shapes_are_made() -> None:
    watch = SessionWatch(OwnStore(), KEY)
    requests = [np.full((1, width), 7, np.int64) for width in (4, 8)]
    assert [len(each or ()) for each in watch.prints(RULES, a_live(row=(8,)), requests)] == [1, 1]


def test_without_rules_no_prints_are_made() -> None:
    assert SessionWatch(OwnStore(), KEY).prints(None, a_live(), [ROW, ROW]) == [None, None]
