"""Packs of sessions: no file of theirs outlives the session that asked for it."""

import threading
from datetime import UTC, datetime

import pytest

from console.reading.jobs import PackExports, PackRequest
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.documents.people import make_policy
from tests.support.harness.rollouts import await_true

REQUEST = PackRequest((make_policy(),), (), False, datetime.now(UTC))


class Channel:
    """A gateway whose every answer waits until the test lets it come."""

    def __init__(self):
        self.asked, self.answer = threading.Event(), threading.Event()

    def unary_unary(self, *_, **__):
        return self._call

    unary_stream = stream_unary = stream_stream = unary_unary

    def _call(self, *_, **__):
        self.asked.set()
        self.answer.wait()
        raise SealgateError(Reason.ROLE_TOO_LOW)


@pytest.fixture
def channel():
    channel = Channel()
    yield channel
    channel.answer.set()


def test_a_pack_is_deleted_with_its_session(channel):
    exports = PackExports()
    channel.answer.set()
    exports.begin("anna", channel, REQUEST)
    job = exports.of("anna")
    await_true(lambda: job.ended)
    job.file.write_bytes(b"a pack")
    exports.drop("anna")
    assert exports.of("anna") is None
    assert not job.file.parent.exists()


def test_a_pack_in_the_making_is_deleted_once_it_stops(channel):
    exports = PackExports()
    exports.begin("anna", channel, REQUEST)
    job = exports.of("anna")
    assert channel.asked.wait(60)
    exports.drop("anna")
    exports.drop("anna")
    assert exports.of("anna") is None
    assert job.file.parent.exists()
    channel.answer.set()
    await_true(lambda: not job.file.parent.exists())
