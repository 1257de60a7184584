"""Answers that are held back: each leaves when it is due, and none is lost."""

import threading
import time

from gateway.transport.delayed import DelayedAnswers


def test_answers_leave_in_the_order_in_which_they_are_due() -> None:
    delayed, left, done = DelayedAnswers(), [], threading.Event()
    delayed.add(3600.0, lambda: left.append("late"))
    delayed.add(0.0, lambda: (left.append("early"), done.set()))
    assert done.wait(60)
    delayed.stop()
    assert left == ["early", "late"]


def test_no_answer_leaves_before_it_is_due() -> None:
    delayed, done = DelayedAnswers(), threading.Event()
    began = time.monotonic()
    delayed.add(0.06, done.set)
    assert done.wait(60)
    assert time.monotonic() - began >= 0.06
    delayed.stop()


def test_what_waits_leaves_when_it_stops() -> None:
    delayed, left = DelayedAnswers(), []
    delayed.add(3600.0, lambda: left.append("held"))
    delayed.stop()
    delayed.add(3600.0, lambda: left.append("after"))
    assert left == ["held", "after"]


def test_a_failing_answer_holds_up_no_other() -> None:
    delayed, done = DelayedAnswers(), threading.Event()
    delayed.add(0.0, lambda: 1 / 0)
    delayed.add(0.01, done.set)
    assert done.wait(60)
    delayed.stop()


def test_nothing_waits_and_nothing_is_started() -> None:
    threads = threading.active_count()
    DelayedAnswers().stop()
    assert threading.active_count() == threads
