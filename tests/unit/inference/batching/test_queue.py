"""The waiting line: who goes first, how long others may be overtaken, and how many fit."""

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.batching.queue import OVERTAKEN, FairQueue


@dataclass(eq=False)
class Guest:
    name: str
    urgent: bool
    rows: int = 1
    caller: str = "someone"
    bucket: int = 0


def line_of(*guests: Guest, room: int = 1000) -> FairQueue[Guest]:
    line: FairQueue[Guest] = FairQueue(room)
    for guest in guests:
        line.append(guest)
    return line


def test_the_urgent_go_first_and_each_level_keeps_its_order() -> None:
    line = line_of(*(Guest(name, name.isupper()) for name in "aBcDe"))
    assert line.head().name == "B"
    assert "".join(line.take().name for _ in range(5)) == "BDace"


def test_an_ordinary_one_is_overtaken_a_bounded_number_of_times() -> None:
    line = line_of(Guest("a", False), Guest("b", False))
    order = []
    # However many urgent ones come, and however fast.
    for _ in range(2 * OVERTAKEN + 2):
        line.append(Guest("U", True))
        order.append(line.take().name)
    assert order == ["U"] * OVERTAKEN + ["a"] + ["U"] * OVERTAKEN + ["b"]


def test_each_level_has_room_of_its_own() -> None:
    line = line_of(Guest("a", False, rows=3), room=4)
    assert not line.has_room(Guest("b", False, rows=2))
    assert line.has_room(Guest("C", True, rows=4))
    line.append(Guest("C", True, rows=4))
    assert not line.has_room(Guest("D", True))
    assert line.has_room(Guest("b", False))


def test_who_leaves_the_line_makes_room() -> None:
    first, second = Guest("a", False, rows=2), Guest("B", True, rows=3)
    line = line_of(first, second)
    line.remove(first)
    assert (len(line), line.rows) == (1, 3)
    assert line.take() is second
    assert (len(line), line.rows) == (0, 0)
    with pytest.raises(IndexError):
        line.head()


def flood(line: FairQueue[Guest], caller: str, count: int, rows: int = 1) -> list[Guest]:
    guests = [Guest(f"{caller}{number}", False, rows, caller) for number in range(count)]
    for guest in guests:
        line.append(guest)
    return guests


def test_who_floods_waits_behind_their_own() -> None:
    line = line_of()
    flood(line, "greedy", 100)
    flood(line, "modest", 2)
    first = [line.take().name for _ in range(4)]
    assert first == ["greedy0", "modest0", "greedy1", "modest1"]


def test_shares_are_counted_in_rows() -> None:
    line = line_of()
    flood(line, "wide", 3, rows=8)
    flood(line, "narrow", 12)
    names = [line.take().name for _ in range(10)]
    assert names == ["wide0", *(f"narrow{number}" for number in range(8)), "wide1"]


def test_who_was_away_has_saved_nothing_up() -> None:
    line = line_of()
    flood(line, "steady", 50)
    for _ in range(40):
        line.take()
    flood(line, "late", 10)
    taken = [line.take().caller for _ in range(10)]
    assert taken.count("late") in (5, 6)


def test_only_who_waits_is_remembered() -> None:
    line = line_of()
    for number in range(100):
        line.append(Guest("x", False, caller=f"caller-{number}"))
        line.take()
    assert line.ordinary.shares == {}


def test_the_greediest_makes_room_with_what_came_last() -> None:
    line = line_of(room=10)
    greedy = flood(line, "greedy", 8)
    flood(line, "other", 2)
    assert not line.has_room(newcomer := Guest("n", False, rows=2, caller="new"))
    assert line.make_room(newcomer) == [greedy[7], greedy[6]]
    assert line.has_room(newcomer)
    assert len(line) == 8


@pytest.mark.parametrize(("caller", "rows"), [("greedy", 1), ("other", 2), ("new", 6)])
def test_nobody_makes_room_for_who_would_hold_more(caller: str, rows: int) -> None:
    line = line_of(room=10)
    flood(line, "greedy", 5)
    flood(line, "other", 5)
    assert line.make_room(Guest("n", False, rows, caller)) == []
    assert len(line) == 10


def test_nothing_makes_room_where_there_is_some() -> None:
    line = line_of(room=10)
    flood(line, "greedy", 9)
    assert line.make_room(Guest("n", False, caller="new")) == []


@given(st.lists(st.integers(0, 3), min_size=1, max_size=80))
def test_of_those_who_always_wait_none_gets_more_than_a_request_ahead(order: list[int]) -> None:
    line = line_of()
    for number in range(4):
        flood(line, f"caller-{number}", 100)
    # The four are served in turn, even if others arrive.
    for extra in order:
        line.append(Guest("x", False, caller=f"caller-{extra}"))
    served = [line.take().caller for _ in range(200)]
    counts = [served.count(f"caller-{number}") for number in range(4)]
    assert max(counts) - min(counts) <= 1


@given(st.lists(st.tuples(st.sampled_from(["append", "take", "remove"]), st.booleans())))
def test_whatever_happens_the_bound_holds_and_nobody_is_lost(
    steps: list[tuple[str, bool]],
) -> None:
    line: FairQueue[Guest] = FairQueue(1000)
    waiting: list[Guest] = []
    overtaken: dict[str, int] = {}
    for number, (step, urgent) in enumerate(steps):
        if step == "append":
            waiting.append(Guest(str(number), urgent))
            line.append(waiting[-1])
        elif step == "remove" and waiting:
            line.remove(waiting.pop(number % len(waiting)))
        elif step == "take" and waiting:
            taken = line.take()
            level = [guest for guest in waiting if guest.urgent == taken.urgent]
            assert taken is level[0]
            waiting.remove(taken)
            ordinary = [guest for guest in waiting if not guest.urgent]
            if taken.urgent and ordinary:
                key = ordinary[0].name
                overtaken[key] = overtaken.get(key, 0) + 1
                assert overtaken[key] <= OVERTAKEN
        assert (len(line), line.rows) == (len(waiting), len(waiting))


def buckets_of(line: FairQueue[Guest], bucket: int, room: int) -> str:
    return "".join(guest.name for guest in line.take_along(bucket, room))


def test_those_of_one_bucket_come_along_and_pass_the_others() -> None:
    line = line_of(*(Guest(name, False, bucket=int(name in "bd")) for name in "abcde"))
    assert buckets_of(line, 0, 2) == "ac"
    assert line.head().name == "b"
    assert buckets_of(line, 0, 5) == "e"
    assert buckets_of(line, 0, 5) == ""
    assert buckets_of(line, 1, 5) == "bd"
    assert len(line) == line.rows == 0


def test_who_comes_along_fits_and_keeps_the_order_of_its_bucket() -> None:
    line = line_of(
        Guest("a", False, bucket=1),
        Guest("b", False, rows=3),
        Guest("c", False),
        Guest("D", True, rows=2),
    )
    # The urgent one does not fit any more, and the small one does not pass the large one.
    assert buckets_of(line, 0, 4) == "D"
    assert buckets_of(line, 0, 3) == "b"
    assert line.rows == 2


def test_of_one_bucket_alone_nobody_passes_who_does_not_fit() -> None:
    line = line_of(Guest("a", False, rows=3), Guest("b", False))
    assert buckets_of(line, 0, 2) == ""
    assert line.head().name == "a"


BATCH = 32


@dataclass(eq=False)
class LargeRequest:
    caller: str
    rows: int = 1
    urgent: bool = False
    bucket: int = 0


def served(line: FairQueue[LargeRequest], batches: int) -> Counter[str]:
    """The rows of each caller in so many batches; who sends large requests has one at a time."""
    found: Counter[str] = Counter()
    for _ in range(batches):
        head = line.take()
        taken = [head, *line.take_along(head.bucket, BATCH - head.rows)]
        for guest in taken:
            found[guest.caller] += guest.rows
            line.append(LargeRequest(guest.caller, guest.rows, bucket=guest.bucket))
    return found


@pytest.mark.parametrize("buckets", [1, 2])
def test_callers_have_equal_shares_of_rows(buckets: int) -> None:
    line: FairQueue[LargeRequest] = FairQueue(10_000)
    for number in range(4):
        for place in range(100):
            line.append(LargeRequest(f"small-{number}", bucket=place % buckets))
    line.append(LargeRequest("large", BATCH))
    found = served(line, 400)
    assert found.total() <= 400 * BATCH
    assert max(found.values()) <= 1.2 * min(found.values())


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3)), min_size=2, max_size=20))
def test_who_comes_along_in_one_go_comes_in_the_same_order(asked: list[tuple[str, int]]) -> None:
    whole, one_by_one = (FairQueue[LargeRequest](10_000) for _ in range(2))
    for caller, rows in asked:
        guest = LargeRequest(caller, rows)
        whole.append(guest)
        one_by_one.append(guest)
    expected = [one_by_one.take() for _ in asked]
    assert [whole.take(), *whole.take_along(0, sum(rows for _, rows in asked))] == expected
    assert (len(whole), whole.rows, whole.ordinary.shares) == (0, 0, {})
    # Nobody comes before those who were served meanwhile.
    for line in (whole, one_by_one):
        line.append(LargeRequest("a", 1))
        line.append(LargeRequest("b", 1))
    assert whole.take().caller == one_by_one.take().caller


def test_a_caller_that_left_unserved_used_no_share() -> None:
    line: FairQueue[LargeRequest] = FairQueue(10_000)
    for _ in range(10):
        line.append(LargeRequest("patient"))
    gone = LargeRequest("hasty", BATCH)
    line.append(gone)
    line.remove(gone)
    line.append(LargeRequest("hasty"))
    assert [line.take().caller for _ in range(2)] == ["patient", "hasty"]


def test_shares_are_forgotten_when_nobody_waits() -> None:
    line: FairQueue[LargeRequest] = FairQueue(10_000)
    for number in range(8):
        line.append(LargeRequest(f"caller-{number}", bucket=number % 2))
    head = line.take()
    line.take_along(head.bucket, BATCH)
    line.take_along(1, BATCH)
    assert len(line) == 0
    assert line.ordinary.shares == {}


def test_a_line_says_whether_it_could_take_one_and_takes_nobody() -> None:
    line = line_of(room=8)
    flood(line, "greedy", 8)
    assert not line.could_take(Guest("greedy8", False, caller="greedy"))
    # For whom another would have to give up its place.
    assert line.could_take(Guest("modest", False, caller="modest"))
    for ahead, fits in ((4, True), (5, False)):
        assert line.could_take(Guest("U", True, rows=4), [Guest("V", True, rows=ahead)]) is fits
    assert (len(line), line.rows) == (8, 8)


def test_a_greedy_caller_ahead_would_have_to_make_room_as_well() -> None:
    line = line_of(room=8)
    flood(line, "greedy", 2)
    ahead = [Guest("x", False, caller="greedy") for _ in range(6)]
    assert line.could_take(Guest("m", False, caller="modest"), ahead)
    assert not line.could_take(Guest("g", False, caller="greedy"), ahead)
    assert not line.could_take(Guest("m", False, rows=5, caller="modest"), ahead)
    whole = [Guest("x", False, rows=4, caller="greedy") for _ in range(2)]
    assert line_of(room=8).could_take(Guest("m", False, caller="modest"), whole)


def test_who_is_ahead_in_the_other_level_takes_no_room() -> None:
    ordinary, urgent = ([Guest("x", each, rows=8)] for each in (False, True))
    line = line_of(room=8)
    assert line.could_take(Guest("U", True, rows=8), ordinary)
    assert line.could_take(Guest("a", False, rows=8), urgent)


def test_with_one_level_the_urgent_have_no_room_of_their_own() -> None:
    line: FairQueue[Guest] = FairQueue(2, levels=1)
    flood(line, "someone", 2)
    assert not line.has_room(urgent := Guest("U", True))
    assert not line.could_take(urgent)


def test_a_line_whose_room_is_lowered_keeps_who_is_there() -> None:
    line = line_of(*(Guest(name, False) for name in "abc"))
    line.room = 2
    assert not line.has_room(Guest("d", False))
    assert [line.take().name for _ in range(3)] == ["a", "b", "c"]
    assert line.has_room(Guest("d", False))


def test_where_more_wait_than_there_is_room_for_a_newcomer_replaces_what_it_brings() -> None:
    """Two callers may have filled a line together before its room was lowered."""
    line = line_of()
    floods = [flood(line, caller, 8) for caller in ("one", "two")]
    line.room = 2
    newcomer = Guest("n", False, rows=2, caller="new")
    assert line.could_take(newcomer)
    assert line.make_room(newcomer) == [floods[0][7], floods[0][6]]
    line.append(newcomer)
    assert line.rows == 16
    assert line.make_room(Guest("x", False, caller="two")) == []
