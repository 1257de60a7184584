"""The waiting line: who goes first, how long others may be overtaken, and how many fit."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.waiting import OVERTAKEN, WaitingLine


@dataclass(eq=False)
class Guest:
    name: str
    urgent: bool
    rows: int = 1


def line_of(*guests: Guest, room: int = 1000) -> WaitingLine[Guest]:
    line: WaitingLine[Guest] = WaitingLine(room)
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


@given(st.lists(st.tuples(st.sampled_from(["append", "take", "remove"]), st.booleans())))
def test_whatever_happens_the_bound_holds_and_nobody_is_lost(
    steps: list[tuple[str, bool]],
) -> None:
    line: WaitingLine[Guest] = WaitingLine(1000)
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
