"""Known heads: a request found by its head is what protobuf reads, whatever somebody sends."""

import tracemalloc

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from demo.questions import question
from gateway.calls.messages import RequestHeads
from gateway.calls.params import read_params
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import Tensor, parameters_digest, read_inputs, write_inputs
from tests.support.builders.documents.people import refused

ROW = np.arange(4, dtype=np.float32)[None]


def kept(*messages: bytes, heads: RequestHeads | None = None) -> RequestHeads:
    """Heads after these messages, as far as they are requests that can be answered."""
    heads = heads or RequestHeads()
    for message in messages:
        try:
            request = oip.ModelInferRequest.FromString(message)
            params = read_params(request)
            read_inputs(request)
        except (DecodeError, SealgateError):
            continue
        heads.keep(message, request, request.id, parameters_digest(request), params)
    return heads


def message(row: np.ndarray = ROW, **more: object) -> bytes:
    request = question("digits", row, receipt=True)
    for name, value in more.items():
        setattr(request, name, value)
    return request.SerializeToString()


def assert_read_alike(heads: RequestHeads, sent: bytes) -> bool:
    """Whether the request is known; if so, protobuf reads the same."""
    known = heads.find(sent)
    if known is None:
        return False
    request = oip.ModelInferRequest.FromString(sent)
    assert known.head.params == read_params(request)
    assert known.head.parameters == parameters_digest(request)
    assert known.head.request_id == request.id
    try:
        expected = read_inputs(request)
    except SealgateError as refusal:
        with refused(refusal.reason):
            known.tensors()
        return True
    found = known.tensors()
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        other = expected[name]
        assert (tensor.datatype, tensor.shape, tensor.raw) == (
            other.datatype,
            other.shape,
            other.raw,
        )
        assert np.array_equal(tensor.data, other.data)
    return True


def test_the_same_question_about_another_row_is_known() -> None:
    heads = kept(message())
    assert assert_read_alike(heads, message(ROW + 1))


@pytest.mark.parametrize(
    "other",
    [
        message(model_name="digit5"),
        message(id="1"),
        message(np.zeros((1, 5), np.float32)),
        message(model_version="1"),
        b"",
    ],
)
def test_another_question_is_not_known(other: bytes) -> None:
    assert kept(message()).find(other) is None


def test_what_the_bytes_say_is_checked_each_time() -> None:
    heads = kept(message())
    known = heads.find(message(ROW * np.float32("nan")))
    assert known is not None
    with refused(Reason.TENSOR_NOT_FINITE):
        known.tensors()


def test_typed_contents_and_several_tensors_have_no_head() -> None:
    typed = oip.ModelInferRequest(model_name="digits")
    tensor = typed.inputs.add(name="x", datatype="FP32", shape=[1, 1])
    tensor.contents.fp32_contents.append(1.0)
    several = question("digits", ROW)
    second = several.inputs.add(name="y", datatype="FP32", shape=[1, 4])
    assert second
    several.raw_input_contents.append(ROW.tobytes())
    assert len(kept(typed.SerializeToString(), several.SerializeToString())) == 0


def test_raw_contents_in_the_middle_have_no_head() -> None:
    """A later field that ends like the raw contents gains a caller nothing."""
    request = question("digits", ROW)
    raw = request.raw_input_contents[0]
    tail = b"\x3a" + bytes([len(raw)]) + raw
    del request.raw_input_contents[:]
    sent = request.SerializeToString() + tail + b"\xfa\x7f" + bytes([len(tail)]) + tail
    assert oip.ModelInferRequest.FromString(sent).raw_input_contents == [raw]
    assert len(kept(sent)) == 0


def texts(raw: bytes) -> bytes:
    """A request of one text, whose size its shape does not tell."""
    request = oip.ModelInferRequest(model_name="news")
    request.inputs.add(name="text", datatype="BYTES", shape=[1])
    request.raw_input_contents.append(raw)
    return request.SerializeToString()


def test_the_raw_bytes_are_as_many_as_the_tail_says() -> None:
    """Else what protobuf takes for another field would be read as a part of the text."""
    longer, shorter = texts(b"\x0c\0\0\0" + b"a" * 12), texts(b"\x06\0\0\0" + b"b" * 6)
    sent = shorter[:-10] + b"\x0c\0\0\0" + b"b" * 6 + b"\x1a\x04case"
    assert len(sent) == len(longer)
    assert oip.ModelInferRequest.FromString(sent).id == "case"
    assert kept(longer, shorter).find(sent) is None


def test_a_large_head_is_not_kept() -> None:
    """Protobuf passes over fields that it does not know, whatever their size."""
    sent = b"\xfa\x7f\xff\x3f" + bytes(0x1FFF) + message()
    assert oip.ModelInferRequest.FromString(sent).model_name == "digits"
    assert len(kept(sent)) == 0
    assert len(kept(b"\xfa\x7f\x01\x00" + message())) == 1


def test_heads_are_bounded() -> None:
    heads = RequestHeads(most=3)
    for number in range(10):
        kept(message(id=f"{number:03}"), heads=heads)
        assert len(heads) <= 3


def test_texts_of_all_lengths_take_no_more_memory_than_one() -> None:
    """Their heads are the same, for a text's length is in its contents alone."""

    def text(length: int) -> bytes:
        request = oip.ModelInferRequest(model_name="spam")
        write_inputs(request, [Tensor.of("text", np.array([[b"a" * length]], np.object_))])
        return request.SerializeToString()

    heads = kept(text(1))
    tracemalloc.start()
    held = []
    # Other caches of requests hold the last thousand; they fill up first.
    for lengths in (range(1, 2_000), range(2_000, 6_000)):
        for length in lengths:
            kept(text(length), heads=heads)
        held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert len(heads) == 1
    assert held[1] - held[0] < 50_000
    assert heads.find(text(5_999)) is not None


FIELDS = st.sampled_from(
    [
        message(),
        message(id="case-1"),
        message(model_version="1"),
        message(np.zeros((2, 4), np.float32)),
        message(np.zeros((1, 200), np.float32)),
    ]
)


@given(st.lists(FIELDS, min_size=1, max_size=4), st.data())
def test_mutated_requests_are_read_as_protobuf_reads_them(
    messages: list[bytes], data: st.DataObject
) -> None:
    heads = kept(*messages)
    for sent in messages:
        mutated = bytearray(sent)
        for _ in range(data.draw(st.integers(0, 4))):
            place = data.draw(st.integers(0, len(mutated) - 1))
            mutated[place] = data.draw(st.integers(0, 255))
        assert_read_alike(heads, bytes(mutated))
        kept(bytes(mutated), heads=heads)
        for again in messages:
            assert_read_alike(heads, again)
