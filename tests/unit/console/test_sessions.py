import pytest

from console.sessions import MOST, SessionStore

IDLE, ABSOLUTE = 900.0, 28800.0


class Store(SessionStore):
    """With a clock that a test moves."""

    def __init__(self):
        self.now = 1000.0
        self.ended = []
        self.count = 5.0
        super().__init__(IDLE, ABSOLUTE, lambda: self.now, self.ended.append, lambda: self.count)

    def begin(self, identity="jwt:issuer paula", expires=1e9):
        return self.open(identity, "a token", expires, "a browser")


def test_a_session_is_found_by_its_number_alone():
    store = Store()
    number = store.begin()
    assert store.find(number).identity == "jwt:issuer paula"
    assert store.find(number + "x") is None
    assert store.find("") is None


def test_each_session_has_its_own_number_and_csrf_token():
    store = Store()
    first, second = store.find(store.begin()), store.find(store.begin())
    assert first.csrf != second.csrf
    assert first.handle != second.handle


def test_a_session_ends_when_it_was_idle_too_long():
    store = Store()
    number = store.begin()
    store.now += IDLE - 1
    assert store.find(number) is not None
    store.now += IDLE - 1
    assert store.find(number) is not None
    store.now += IDLE
    assert store.find(number) is None


def test_a_session_ends_after_the_absolute_time_however_busy():
    store = Store()
    number = store.begin()
    while store.now < 1000.0 + ABSOLUTE - 1:
        assert store.find(number) is not None
        store.now += IDLE - 1
    store.now = 1000.0 + ABSOLUTE
    assert store.find(number) is None


def test_a_clock_that_is_set_back_keeps_no_session():
    store = Store()
    idle = store.begin()
    busy = store.begin()
    store.now -= 172800.0
    for _ in range(int(ABSOLUTE // (IDLE - 1))):
        store.count += IDLE - 1
        assert store.find(busy) is not None
    assert store.find(idle) is None
    store.count += IDLE - 1
    assert store.find(busy) is None


def test_a_session_ends_with_its_token():
    store = Store()
    number = store.begin(expires=1060.0)
    store.now = 1059.0
    assert store.find(number) is not None
    store.now = 1060.0
    assert store.find(number) is None


def test_signing_out_ends_one_session_and_everywhere_ends_all_of_the_person():
    store = Store()
    mine, elsewhere = store.begin(), store.begin()
    other = store.begin("jwt:issuer otto")
    store.close(store.find(mine))
    assert store.find(mine) is None
    assert [s.identity for s in store.of("jwt:issuer paula")] == ["jwt:issuer paula"]
    store.close_all("jwt:issuer paula")
    assert store.find(elsewhere) is None
    assert store.find(other) is not None


def test_the_session_that_was_idle_longest_makes_room():
    store = Store()
    first = store.begin()
    store.now += 1
    kept = store.begin()
    for _ in range(MOST - 2):
        store.begin()
    assert store.find(kept) is not None
    store.now += 1
    store.begin()
    assert store.find(first) is None
    assert store.find(kept) is not None


@pytest.mark.parametrize("how", ["signed out", "signed out everywhere", "in time", "crowded out"])
def test_it_is_told_of_each_session_that_ends(how):
    store = Store()
    session = store.find(store.begin())
    if how == "signed out":
        store.close(session)
    elif how == "signed out everywhere":
        store.close_all(session.identity)
    elif how == "in time":
        store.now += IDLE
        # Whether or not anybody asks for a page.
        store.drop_ended()
    else:
        store.now += 1
        for _ in range(MOST):
            store.begin("jwt:issuer otto")
    assert store.ended == [session]
