"""An HTTP call is told when its caller leaves."""

import socket
import threading
from collections.abc import Iterator

import pytest

from gateway.calls.call import CallCleanup
from gateway.transport.http.gateway import DisconnectWatch
from gateway.transport.http.peer import HttpContext, Peer
from tests.support.fakes.blocking_worker import until


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture
def absence() -> Iterator[DisconnectWatch]:
    absence = DisconnectWatch()
    absence.start()
    yield absence
    absence.stop()


def test_a_call_is_told_when_its_caller_leaves(
    ends: tuple[socket.socket, socket.socket], absence: DisconnectWatch
) -> None:
    ours, theirs = ends
    context, told = HttpContext(Peer(ours, None), ()), threading.Event()
    cleanup = CallCleanup(context)
    with absence.noticed(context):
        cleanup.add(told.set)
        assert not told.wait(0.3)
        theirs.close()
        assert told.wait(60)
        # A callback that is added after the end is called at once.
        late = threading.Event()
        cleanup.add(late.set)
        assert late.is_set()
    until(lambda: not absence.watched)
