"""A chat that named half a surrogate pair for its version was answered INTERNAL: no message of the
protocol can hold that.
"""

import json

import pytest

from gateway.transport.http.chat import read_chat
from sealgate.reasons import Reason, Refusal


def test_it_is_refused_as_a_parameter() -> None:
    chat = {"model": "tiny", "messages": [], "sealgate": {"version": "\ud800"}}
    with pytest.raises(Refusal) as found:
        read_chat(json.dumps(chat).encode())
    assert found.value.reason is Reason.PARAMETER_MALFORMED
    assert found.value.facts == {"param": "sealgate.version"}
