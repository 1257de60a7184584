"""A server whose google.rpc.Status contradicts its gRPC status made `reason_of` raise ValueError,
so that its clients failed with an exception of grpc_status instead of a reason.
"""

import grpc

from sealgate.client.refused import refusal_of
from sealgate.reasons import Reason
from sealgate.remote import reason_of
from tests.support.fake_gateway import Failed


def test_it_gives_no_reason():
    error = Failed(grpc.StatusCode.UNAVAILABLE, Reason.DRAINING)
    error._code = grpc.StatusCode.NOT_FOUND
    assert reason_of(error) is None
    assert refusal_of(error).reason is Reason.CALL_FAILED


def test_a_status_that_is_none_gives_no_reason():
    error = Failed(grpc.StatusCode.UNAVAILABLE, Reason.DRAINING)
    error._metadata = [("grpc-status-details-bin", b"\xff\xff")]
    assert reason_of(error) is None
