"""Failing fast after a service failed."""

import pytest

from gateway.admission.overload import PAUSE_SECONDS, CircuitBreaker
from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused


class Service:
    """Counts its calls, on a clock that the test turns."""

    def __init__(self):
        self.now = 100.0
        self.calls = 0
        self.breaker = CircuitBreaker(Reason.SESSION_UNKNOWN, lambda: self.now)

    def call(self, error=None):
        with self.breaker.calling(ConnectionError):
            self.calls += 1
            if error is not None:
                raise error


@pytest.fixture
def service():
    return Service()


def test_after_a_failure_one_call_a_pause_is_let_through(service):
    for turn in range(3):
        with pytest.raises(ConnectionError):
            service.call(ConnectionError())
        with refused(Reason.SESSION_UNKNOWN) as caught:
            service.call()
        assert caught.value.retry == pytest.approx(PAUSE_SECONDS)
        assert service.calls == turn + 1
        service.now += PAUSE_SECONDS


def test_a_success_closes_it(service):
    with pytest.raises(ConnectionError):
        service.call(ConnectionError())
    service.now += PAUSE_SECONDS
    for _ in range(3):
        service.call()
    assert service.calls == 4
    assert not service.breaker.is_open


def test_other_errors_do_not_open_it(service):
    with pytest.raises(KeyError):
        service.call(KeyError())
    assert not service.breaker.is_open
