"""gzip and deflate, in both directions; what travels is counted between client and gateway."""

from dataclasses import replace

import grpc
import numpy as np
import pytest

from gateway.calls.messages import ENCODING_METADATA
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason
from sealgate.remote import connect
from tests.support.harness.gateway import question, refusal, rows
from tests.support.harness.network.relay import relay_to

ALGORITHMS = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}


@pytest.fixture(scope="module")
def harness(harness_by_transport):
    return harness_by_transport


def same_rows():
    """One row 64 times: 16 KB to send and 2.5 KB to answer, which compress to a few hundred."""
    return question("digits", np.repeat(rows(), 64, axis=0))


def bytes_of(harness, compression=None, encoding=None):
    """Return the bytes that a call sends and receives on an open connection, and its answer."""
    profile = harness.profile("client")
    metadata = ((ENCODING_METADATA, encoding),) if encoding else ()
    with relay_to(profile.endpoint) as relay:
        endpoint = f"127.0.0.1:{relay.port}"
        with connect(replace(profile, endpoint=endpoint)) as channel:
            stub = GRPCInferenceServiceStub(channel)
            stub.ModelInfer(question("digits", rows()), timeout=60)
            before = relay.sent, relay.received
            response = stub.ModelInfer(
                same_rows(), timeout=60, compression=compression, metadata=metadata
            )
            counted = relay.sent - before[0], relay.received - before[1]
    return *counted, response.raw_output_contents[0]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_requests_and_answers_are_compressed_as_the_caller_asks(harness, name):
    sent, received, answer = bytes_of(harness)
    assert sent > 16_000
    assert received > 2_500
    less_sent, less_received, same = bytes_of(harness, ALGORITHMS[name], name)
    assert less_sent < sent / 8
    assert less_received < received / 2
    assert answer == same


def test_a_compressed_request_alone_is_answered_plainly(harness):
    sent, received, _ = bytes_of(harness, grpc.Compression.Gzip)
    assert sent < 4_000
    assert received > 2_500
    assert bytes_of(harness, encoding="identity")[1] > 2_500


@pytest.mark.parametrize(
    "values",
    [("br",), ("",), ("GZIP",), ("gzip", "deflate")],
    ids=["other", "empty", "case", "two"],
)
def test_another_encoding_is_refused(harness, values):
    metadata = tuple((ENCODING_METADATA, value) for value in values)
    reason = refusal(
        harness.inference().ModelInfer, question("digits", rows()), metadata=metadata, timeout=60
    )
    assert reason is Reason.PARAMETER_MALFORMED


@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_grows_beyond_the_limit_is_refused_while_it_is_unpacked(harness, name):
    """64 MB of zeros travel as 64 KB."""
    large = question("digits", np.zeros((250_000, 64)))
    infer = harness.inference().ModelInfer
    reason = refusal(infer, large, compression=ALGORITHMS[name], timeout=60)
    assert reason is Reason.MESSAGE_TOO_LARGE
