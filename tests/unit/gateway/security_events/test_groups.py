"""Events that are alike are counted; none is dropped, however many origins there are."""

from dataclasses import replace

from gateway.security_events.kinds import EventKind, SecurityEvent
from gateway.security_events.ocsf import EventGroups
from tests.support.fakes.clock import Clock

EVENT = SecurityEvent(EventKind.CREDENTIAL_REFUSED, "TOKEN_EXPIRED", address="192.0.2.1")


def test_the_first_is_due_at_once_and_the_rest_after_a_window() -> None:
    clock = Clock()
    groups = EventGroups(60, clock)
    assert groups.add(EVENT)
    assert [each.count for each in groups.take()] == [1]
    for second in (1, 2, 3):
        clock.now = 1000.0 + second
        assert not groups.add(EVENT)
    assert groups.take() == []
    assert groups.next_due() == 57.0
    clock.now = 1060.0
    (told,) = groups.take()
    assert (told.count, told.first, told.last) == (3, 1001.0, 1003.0)


def test_a_group_that_nothing_was_added_to_ends() -> None:
    clock = Clock()
    groups = EventGroups(60, clock)
    groups.add(EVENT)
    groups.take()
    clock.now = 1060.0
    assert groups.take() == []
    assert groups.next_due() is None
    assert groups.add(EVENT)


def test_beyond_the_bound_events_are_counted_without_their_origin() -> None:
    groups = EventGroups(60, Clock(), most=2)
    for number in range(10):
        groups.add(replace(EVENT, address=f"192.0.2.{number}"))
        groups.add(replace(EVENT, kind=EventKind.ADVERSARIAL_INPUT, principal=f"p-{number}"))
    told = {each.event: each.count for each in groups.take()}
    assert sum(told.values()) == 20
    assert told[EVENT.without_origin()] == 8
    assert told[replace(EVENT, kind=EventKind.ADVERSARIAL_INPUT).without_origin()] == 8
    assert len(told) == 6


def test_a_flood_of_one_kind_takes_the_origin_from_no_other() -> None:
    clock = Clock()
    groups = EventGroups(60, clock, most=2)
    grave = SecurityEvent(EventKind.VERSION_TAMPERED, "VERSION_ALTERED", model="digits")
    for _ in range(3):
        for number in range(10):
            groups.add(replace(EVENT, address=f"192.0.2.{number}"))
        groups.add(grave)
        assert grave in {each.event for each in groups.take()}
        clock.now += 60
        # Windows end, and their groups.
        groups.take()
        clock.now += 60
        groups.take()


def test_a_clock_that_is_set_back_delays_nothing() -> None:
    clock = Clock()
    groups = EventGroups(60, clock)
    groups.add(EVENT)
    groups.take()
    clock.now = 10.0
    groups.add(EVENT)
    assert groups.next_due() == 60.0
    assert [each.count for each in groups.take()] == [1]


def test_what_could_not_be_told_is_counted_on() -> None:
    clock = Clock()
    groups = EventGroups(60, clock)
    groups.add(EVENT)
    lost = groups.take()
    clock.now = 1005.0
    groups.add(EVENT)
    groups.put_back(lost)
    (told,) = groups.take()
    assert (told.count, told.first, told.last) == (2, 1000.0, 1005.0)


def test_at_the_end_all_is_due() -> None:
    groups = EventGroups(60, Clock())
    groups.add(EVENT)
    groups.take()
    groups.add(EVENT)
    assert [each.count for each in groups.take_all()] == [1]
