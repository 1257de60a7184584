"""Consequences of sessions outlast the rows, up to a bounded number of sessions."""

from gateway.sessions.consequences import Consequences, ForgottenSessions, strictest
from sealgate.trust.policy.screening import SessionRules

RULES = SessionRules("block", "alert", seconds=60)
FIRST = "mallory", "digits"


def forget_others(sessions: ForgottenSessions, number: int, until: float = 60.0) -> None:
    for other in range(number):
        sessions.keep((f"caller-{other}", "digits"), Consequences(until), 0.0)


def test_a_consequence_is_kept_past_65535_others_that_have_one() -> None:
    sessions = ForgottenSessions()
    sessions.keep(FIRST, Consequences(60.0), 0.0)
    forget_others(sessions, 65_535)
    assert sessions.take(FIRST).action(RULES, 59.0) == "block"


def test_one_more_takes_the_place_of_the_session_that_was_forgotten_first() -> None:
    sessions = ForgottenSessions()
    sessions.keep(FIRST, Consequences(60.0), 0.0)
    forget_others(sessions, 65_536)
    assert sessions.take(FIRST).action(RULES, 0.0) is None
    assert sessions.take(("caller-0", "digits")).action(RULES, 0.0) == "block"


def test_sessions_without_a_consequence_take_no_place() -> None:
    sessions = ForgottenSessions(most=1)
    sessions.keep(FIRST, Consequences(60.0), 0.0)
    forget_others(sessions, 10, until=0.0)
    assert sessions.take(FIRST).action(RULES, 0.0) == "block"


def test_a_session_that_comes_back_is_no_longer_kept_as_forgotten() -> None:
    sessions = ForgottenSessions()
    sessions.keep(FIRST, Consequences(60.0, 30.0), 0.0)
    assert sessions.take(FIRST) == Consequences(60.0, 30.0)
    assert sessions.take(FIRST) == Consequences()


def test_the_strictest_action_of_those_that_still_apply_holds() -> None:
    ends = Consequences(search_until=30.0, extraction_until=60.0)
    assert [ends.action(RULES, now) for now in (0.0, 30.0, 60.0)] == ["block", "alert", None]
    assert strictest(["alert", "slow", "label-only"]) == "label-only"
    assert strictest([]) is None
