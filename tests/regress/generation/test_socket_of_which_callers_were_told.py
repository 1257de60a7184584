"""Where the generator's socket lay open to others, callers who asked for an answer heard
`SOCKET_EXPOSED`, which is the operator's to know: of engines that classify they hear that the
engine cannot be reached.
"""

import time
from pathlib import Path

import pytest

from inference.remote.door import SocketDoor
from inference.remote.room import EngineRoom
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, Refusal


def test_they_hear_that_it_cannot_be_reached(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    room = EngineRoom(SocketDoor(tmp_path / "open" / "engine.sock"))
    request, deadline = oip.ModelInferRequest(), time.monotonic() + 60
    with (
        pytest.raises(Refusal) as found,
        room.streaming(request, deadline, lambda _: None) as responses,
    ):
        next(responses)
    assert found.value.reason is Reason.ENGINE_UNAVAILABLE
    with pytest.raises(Refusal) as found:
        room.infer(request, deadline)
    assert found.value.reason is Reason.ENGINE_UNAVAILABLE
    room.close()
