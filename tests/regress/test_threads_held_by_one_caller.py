"""One client that opened as many calls as there are threads, and then sent nothing, kept everybody
waiting: each held its thread until its deadline, and there was room for as many again.
"""

import threading
from collections.abc import Iterator

import pytest

from sealgate.reasons import Reason
from sealgate.remote import reason_of
from sealgate.v1 import log_pb2
from tests.support.house import House

_THREADS = 4


@pytest.fixture
def house(tmp_path) -> Iterator[House]:
    house = House(tmp_path / "state")
    with (house.state / "gateway.toml").open("a") as file:
        file.write(f"\n[limits]\nthreads = {_THREADS}\ndeadline = 60.0\n")
    house.start()
    yield house
    house.stop()


def test_one_caller_leaves_room_for_others(house: House) -> None:
    released = threading.Event()

    def nothing() -> Iterator[bytes]:
        released.wait(120)
        yield from ()

    logs = house.logs("auditor")
    logs.ListLogs(log_pb2.ListLogsRequest(), timeout=60)
    channel = house.channel("client")
    infer = channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
    calls = [infer.future(nothing(), timeout=120) for _ in range(3 * _THREADS)]
    ended = threading.Semaphore(0)
    for call in calls:
        call.add_done_callback(lambda _: ended.release())
    try:
        # Three of them wait on, the others are sent away.
        for _ in range(len(calls) - 3):
            assert ended.acquire(timeout=60)
        reasons = {reason_of(call.exception()) for call in calls if call.done()}
        assert reasons == {Reason.QUEUE_FULL}
        assert logs.ListLogs(log_pb2.ListLogsRequest(), timeout=60).origins
    finally:
        released.set()
        for call in calls:
            call.cancel()
