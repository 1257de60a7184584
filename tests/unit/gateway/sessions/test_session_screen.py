"""The watch over sessions: what follows for whom, for how long, and across gateways."""

import hashlib
import threading
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gateway.config.optional_sections import SessionSettings
from gateway.pipeline.enforcement import Enforcement
from gateway.sessions.comparison import REMEMBERED, Told
from gateway.sessions.fingerprints import Printer
from gateway.sessions.query_attacks import Finding
from gateway.sessions.sealed import SealedStore, open_sessions
from gateway.sessions.session_screen import _HEAD, SessionFinding, SessionWatch, measured_alike
from gateway.sessions.session_store import START, OwnStore
from inference.engine.result import InferenceResult
from inference.model.config import CLASSES, InputScaling
from inference.model.decisions import Numbers
from inference.screening.detector import Verdict
from sealgate.reasons import Reason
from sealgate.settings import ConfigError
from sealgate.trust.keys import write_private_file
from sealgate.trust.policy.screening import (
    ScreeningPolicy,
    ScreeningRules,
    SessionRules,
    StepUpRule,
    VerdictActions,
)
from tests.support.builders.documents.people import make_policy, refused
from tests.support.fakes.shared_sessions import SharedStore

KEY = b"k" * 32
RULES = SessionRules("label-only", "alert", seconds=60)
BLOCKS = SessionRules("block", "alert", seconds=60)
PIXELS = InputScaling((0.0,), (16.0,))
COLUMNS = InputScaling((0.0,) * 64, (1.0,) * 64)
NOTHING = SessionFinding()
DRAW = np.random.default_rng(5)
ROW = DRAW.random((1, 64), np.float32)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def a_live(
    model: str = "digits", scaling: InputScaling | None = PIXELS, row: tuple[int, ...] = (64,)
) -> Any:
    promised = SimpleNamespace(adversarial=0.01, suspect=0.05, surely=lambda rate: rate)
    config = SimpleNamespace(
        domain=SimpleNamespace(min=0.0, max=1.0),
        input=SimpleNamespace(row=row),
        output=SimpleNamespace(name="logits", row=(10,)),
        scaling=scaling,
        decision=CLASSES,
    )
    ready = SimpleNamespace(detector=SimpleNamespace(calibration=promised))
    return SimpleNamespace(model=model, config=config, ready=ready, digest="sha256:1")


def near(number: int) -> list[np.ndarray]:
    """Rows [1, 64] that are near duplicates of one another."""
    noise = DRAW.normal(0, 0.01, (number, 64))
    return [np.clip(ROW + each, 0, 1).astype(np.float32) for each in noise]


def ask(
    watch: SessionWatch,
    row: np.ndarray,
    caller: str = "carla",
    verdict: Verdict = Verdict.CLEAN,
    rules: SessionRules | None = RULES,
    model: str = "digits",
    scaling: InputScaling | None = COLUMNS,
    label: int = 0,
) -> str | None:
    return told(watch, row, caller, verdict, rules, model, scaling, label).action


def told(
    watch: SessionWatch,
    row: np.ndarray,
    caller: str = "carla",
    verdict: Verdict = Verdict.CLEAN,
    rules: SessionRules | None = BLOCKS,
    model: str = "digits",
    scaling: InputScaling | None = PIXELS,
    label: int = 0,
    withheld: bool = False,
) -> SessionFinding:
    live = a_live(model, scaling)
    (prints,) = watch.prints(rules, live, [row])
    asked = [(prints, answered(len(row), label, verdict))]
    return watch.observe(rules, caller, live, asked, withheld=[withheld])


def answered(rows: int, label: int = 0, verdict: Verdict = Verdict.CLEAN) -> InferenceResult:
    logits = np.zeros((rows, 10), np.float32)
    logits[:, label] = 1
    return InferenceResult({"logits": logits}, np.zeros((rows, 3)), 0.0, verdict, 1.0)


def test_a_search_has_its_consequence_for_its_caller_alone_and_ends() -> None:
    clock = Clock()
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


def moved(number: int) -> list[np.ndarray]:
    """Rows [1, 64], each a fifth of the domain from one in every element."""
    middle = np.full(64, 0.5) + DRAW.uniform(-0.1, 0.1, 64)
    signs = DRAW.choice([-1.0, 1.0], (number, 64))
    return [(middle + 0.09 * each)[None].astype(np.float32) for each in signs]


def test_near_duplicates_are_answered_alike_where_elements_are_measured_alike() -> None:
    assert measured_alike(a_live(scaling=PIXELS).config)
    assert not measured_alike(a_live(scaling=COLUMNS).config)
    assert not measured_alike(a_live(scaling=None).config)
    assert measured_alike(a_live(scaling=None, row=(8, 8)).config)
    middle = np.full((1, 64), 0.5, np.float32)
    for scaling, anchors in ((PIXELS, [[3]]), (COLUMNS, [])):
        watch = SessionWatch(key=KEY)
        assert told(watch, middle, label=3, scaling=scaling) == SessionFinding()
        for row in moved(8):
            found = told(watch, row, label=7, scaling=scaling)
            assert (found.action, list(found.anchors)) == (None, anchors)
        assert watch.found["digits", "turned"] == 8 * len(anchors)


def test_near_duplicates_are_evidence_where_no_class_could_be_answered_alike() -> None:
    watch, live = SessionWatch(key=KEY), a_live(scaling=PIXELS)
    live.config.decision = Numbers((0.1,) * 10, (1.0,) * 10, ((0.0,) * 10, (1.0,) * 10))
    found = []
    for row in near(4):
        (prints,) = watch.prints(BLOCKS, live, [row])
        found.append(watch.observe(BLOCKS, "carla", live, [(prints, answered(1))]))
    assert found[0] == NOTHING
    assert found[-1] == SessionFinding("block")


def test_only_near_duplicates_of_a_request_are_answered_as_their_anchors_are() -> None:
    watch, live = SessionWatch(key=KEY), a_live(scaling=PIXELS)
    new = DRAW.random((2, 64), np.float32)
    first, second = np.concatenate([ROW, new[:1]]), np.concatenate([new[1:], *near(2)])
    prints = watch.prints(BLOCKS, live, [first, second])
    given = [(prints[0], answered(2, 5)), (prints[1], answered(3, 8))]
    assert watch.observe(BLOCKS, "carla", live, given).anchors == [None, [None, 5, 5]]


def test_a_burst_of_more_rows_than_are_remembered_is_looked_at_whole() -> None:
    for store in (None, SharedStore()):
        watch = SessionWatch(store, KEY)
        many = np.repeat(DRAW.random((1, 64), np.float32), 3 * REMEMBERED, axis=0)
        many += DRAW.uniform(-0.001, 0.001, many.shape).astype(np.float32)
        many = np.clip(many, 0, 1)
        assert told(watch, ROW, label=1) == SessionFinding()
        (anchors,) = told(watch, many, label=2).anchors
        assert anchors == [None] + [2] * (len(many) - 1)


def test_a_class_of_a_near_duplicate_is_never_another_callers() -> None:
    watch = SessionWatch(key=KEY)
    assert told(watch, ROW, label=3) == SessionFinding()
    assert told(watch, near(1)[0], label=7, caller="otto") == SessionFinding()
    assert told(watch, near(1)[0], label=7).anchors == [[3]]


@pytest.mark.parametrize("place", [None, SharedStore])
def test_a_row_whose_answer_is_withheld_is_no_anchor(place: type[SharedStore] | None) -> None:
    """Else a clean row would leave with the class of an adversarial one that was refused."""
    watch = SessionWatch(place() if place else None, KEY)
    attack, clean, other, again = near(4)
    for row in (attack, again):
        assert told(watch, row, verdict=Verdict.ADVERSARIAL, label=7, withheld=True) == NOTHING
    assert told(watch, clean, label=3) == NOTHING
    # From here on there is an anchor, for withheld rows too.
    assert told(watch, other, label=7).anchors == [[3]]
    assert told(watch, near(1)[0], label=7, withheld=True).anchors == [[3]]


@pytest.mark.parametrize("place", [None, SharedStore])
@pytest.mark.parametrize("verdict", [Verdict.SUSPECT, Verdict.ADVERSARIAL])
def test_a_row_that_was_not_clean_is_no_anchor_of_clean_ones(
    place: type[SharedStore] | None, verdict: Verdict
) -> None:
    """Else its class would leave with a clean verdict, where the policy labels what is suspect."""
    watch = SessionWatch(place() if place else None, KEY)
    attack, again, clean, other, last = near(5)
    assert told(watch, attack, verdict=verdict, label=7) == NOTHING
    # A search among such rows learns one class.
    assert told(watch, again, verdict=verdict, label=3).anchors == [[7]]
    assert told(watch, clean, label=3) == NOTHING
    assert told(watch, other, label=7).anchors == [[3]]
    assert told(watch, last, verdict=verdict, label=5).anchors in ([[3]], [[7]])


def test_what_others_were_not_told_crosses_nothing() -> None:
    watch = SessionWatch(key=KEY)
    one, two, three, other = near(4)
    for caller, row in (("ann", one), ("bob", two), ("cyd", three)):
        assert told(watch, row, caller=caller, label=3, withheld=True) == NOTHING
    assert told(watch, other, label=7) == NOTHING
    assert watch.found["digits", "crossed"] == 0


@pytest.mark.parametrize(
    ("verdict", "apart", "expected"),
    [
        (Verdict.CLEAN, 0, False),
        (Verdict.SUSPECT, 0, True),
        (Verdict.ADVERSARIAL, 0, True),
        (Verdict.CLEAN, 1, True),
    ],
)
def test_what_the_policy_refuses_for_its_verdict_is_withheld(
    verdict: Verdict, apart: int, expected: bool
) -> None:
    acts = VerdictActions(adversarial="block", suspect="step-up", disagreement="block")
    screen = ScreeningRules(acts, step_up=StepUpRule("approver", 60))
    policy = make_policy(screens=ScreeningPolicy({"digits": screen}))
    unused: Any = None
    enforcement = Enforcement(unused, lambda: policy, unused, unused)
    live, caller = a_live(), policy.with_role("client")[0]
    live.config.blocks = True
    answer = answered(1, verdict=verdict)._replace(float32_rows=apart)
    assert enforcement.withholds(live, caller, answer) is expected


@pytest.mark.parametrize(("search", "action"), [("block", "block"), ("alert", "alert")])
def test_a_class_that_several_others_were_not_told_is_refused_for_this_burst(
    search: str, action: str
) -> None:
    watch, rules = SessionWatch(key=KEY), SessionRules(search, "alert", seconds=60)
    one, two, three, other = near(4)
    for caller, row in (("ann", one), ("bob", two), ("cyd", three)):
        assert told(watch, row, caller=caller, label=3, rules=rules) == SessionFinding()
    assert told(watch, other, label=7, rules=rules).action == action
    assert watch.found["digits", "crossed"] == 1
    honest = DRAW.random((1, 64), np.float32)
    assert told(watch, honest, label=1, rules=rules) == SessionFinding()


@pytest.mark.parametrize("search", ["alert", "label-only"])
def test_where_nobody_is_blocked_own_classes_leave_and_turned_ones_have_the_consequence(
    search: str,
) -> None:
    watch, rules = SessionWatch(key=KEY), SessionRules(search, "alert", seconds=60)
    assert told(watch, ROW, label=3, rules=rules) == SessionFinding()
    assert told(watch, near(1)[0], label=3, rules=rules) == SessionFinding()
    assert told(watch, near(1)[0], label=7, rules=rules) == SessionFinding(search)
    assert watch.found == {("digits", "turned"): 1}


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
    watch: Any = SessionWatch(OwnStore(), b"k" * 32)
    watch.found = Slow()
    (given,) = Printer(b"k" * 32, "digits").of(np.zeros((1, 64), np.float32), 0, 1)
    row = _HEAD.pack(0, Told.CLEAN, 1.0) + given.encode()

    def find() -> None:
        watched = SimpleNamespace(
            session=SimpleNamespace(add_all=lambda *_: [Finding(search=True)])
        )
        watch.take(watched, [row], RULES, "client", "digits")

    threads = [threading.Thread(target=find) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
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
