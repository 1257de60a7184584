"""Which sessions are flagged: each once until nothing was found for a while, the newest kept."""

from gateway.sessions.query_attack_detection import FlaggedSessions


def test_a_session_is_kept_once_until_nothing_was_found_for_a_while():
    now = [0.0]
    flagged = FlaggedSessions(lambda: now[0])
    for moment in (0.0, 9.0, 18.0, 28.0):
        now[0] = moment
        flagged.add("client", "digits", "alert", 10)
    assert len(flagged.after("")) == 2


def test_others_and_stricter_consequences_are_kept_beside():
    flagged = FlaggedSessions()
    for each in (
        ("a", "m", "alert"),
        ("b", "m", "alert"),
        ("a", "n", "alert"),
        ("a", "m", "block"),
    ):
        flagged.add(*each, 10)
    assert [tuple(each[2:]) for each in flagged.after("")] == [
        ("a", "m", "alert"),
        ("b", "m", "alert"),
        ("a", "n", "alert"),
        ("a", "m", "block"),
    ]


def test_one_goes_on_after_the_last_one_seen_and_from_the_start_where_it_is_gone():
    flagged = FlaggedSessions()
    for number in range(1003):
        flagged.add(f"client-{number}", "m", "alert", 10)
    kept = flagged.after("")
    assert [kept[0].principal, kept[-1].principal, len(kept)] == ["client-3", "client-1002", 1000]
    assert flagged.after(kept[-2].id) == kept[-1:]
    assert flagged.after("another-start-7") == kept
