"""An engine ended a call whose message was none of its method's as gRPC does: with INTERNAL, in
words of gRPC's, and before it looked at who called.
"""

from pathlib import Path

import pytest

from sealgate.reasons import Reason
from tests.support.house import refusal
from tests.support.paper_registry import PaperRegistry
from tests.support.paper_room import paper_room


@pytest.mark.parametrize("name", ["ModelInfer", "RepositoryModelLoad", "ServerReady"])
def test_have_one(tmp_path: Path, name: str) -> None:
    with paper_room(PaperRegistry(), tmp_path) as room:
        call = room.channel.unary_unary(f"/inference.GRPCInferenceService/{name}")
        assert refusal(call, b"\x13\x06digits", timeout=60) is Reason.MESSAGE_MALFORMED
