"""Tensors on the wire: every data type goes in and out; everything malformed has its reason."""

import hashlib
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import (
    Tensor,
    TensorForm,
    digest_of,
    read_inputs,
    read_outputs,
    write_outputs,
)
from tests.support.builders.documents.people import refused as refused_with


def request(datatype, shape, *, raw=None, name="x", **typed):
    message = oip.ModelInferRequest(model_name="m")
    tensor = message.inputs.add(name=name, datatype=datatype, shape=shape)
    if raw is not None:
        message.raw_input_contents.append(raw)
    for field, values in typed.items():
        getattr(tensor.contents, field).extend(values)
    return message


def refused(message):
    with pytest.raises(SealgateError) as caught:
        read_inputs(message)
    return caught.value.reason


RAW = {
    "BOOL": np.array([True, False]),
    "INT8": np.array([-128, 127], np.int8),
    "INT16": np.array([-32768, 1], np.int16),
    "INT32": np.array([-(2**31), 1], np.int32),
    "INT64": np.array([-(2**63), 1], np.int64),
    "UINT8": np.array([0, 255], np.uint8),
    "UINT16": np.array([0, 65535], np.uint16),
    "UINT32": np.array([0, 2**32 - 1], np.uint32),
    "UINT64": np.array([0, 2**64 - 1], np.uint64),
    "FP16": np.array([0.5, -2], np.float16),
    "FP32": np.array([0.5, -2], np.float32),
    "FP64": np.array([0.5, -2], np.float64),
}
TYPED = {
    "BOOL": ("bool_contents", [True, False]),
    "INT8": ("int_contents", [-128, 127]),
    "INT16": ("int_contents", [-32768, 1]),
    "INT32": ("int_contents", [-(2**31), 1]),
    "INT64": ("int64_contents", [-(2**63), 1]),
    "UINT8": ("uint_contents", [0, 255]),
    "UINT16": ("uint_contents", [0, 65535]),
    "UINT32": ("uint_contents", [0, 2**32 - 1]),
    "UINT64": ("uint64_contents", [0, 2**64 - 1]),
    "FP32": ("fp32_contents", [0.5, -2]),
    "FP64": ("fp64_contents", [0.5, -2]),
}


@pytest.mark.parametrize("datatype", RAW)
def test_raw_contents_are_read(datatype):
    tensor = read_inputs(request(datatype, [2], raw=RAW[datatype].tobytes()))["x"]
    assert tensor.data.dtype == RAW[datatype].dtype
    np.testing.assert_array_equal(tensor.data, RAW[datatype])


@pytest.mark.parametrize("datatype", TYPED)
def test_typed_contents_are_read_and_have_the_same_raw_form(datatype):
    field, values = TYPED[datatype]
    tensor = read_inputs(request(datatype, [2], **{field: values}))["x"]
    np.testing.assert_array_equal(tensor.data, RAW[datatype])
    assert tensor.raw == RAW[datatype].tobytes()


def test_bf16_is_the_high_half_of_a_float32():
    raw = np.array([1.5, -3.0], np.float32).view(np.uint32) >> 16
    tensor = read_inputs(request("BF16", [2], raw=raw.astype("<u2").tobytes()))["x"]
    np.testing.assert_array_equal(tensor.data, np.array([1.5, -3.0], np.float32))


def test_bytes_raw_and_typed_agree():
    raw = b"".join(struct.pack("<I", len(item)) + item for item in (b"", b"ab"))
    from_raw = read_inputs(request("BYTES", [2], raw=raw))["x"]
    from_typed = read_inputs(request("BYTES", [2], bytes_contents=[b"", b"ab"]))["x"]
    assert from_raw.data.tolist() == from_typed.data.tolist() == [b"", b"ab"]
    assert from_raw.raw == from_typed.raw == raw


def test_outputs_survive_the_wire():
    response = oip.ModelInferResponse()
    tensors = [Tensor.of(name, data.reshape(2, 1)) for name, data in RAW.items()]
    texts = np.empty(1, object)
    texts[0] = b"words"
    write_outputs(response, [*tensors, Tensor.of("text", texts)])
    again = read_outputs(oip.ModelInferResponse.FromString(response.SerializeToString()))
    for tensor in tensors:
        np.testing.assert_array_equal(again[tensor.name].data, tensor.data)
    assert again["text"].data.tolist() == [b"words"]


@pytest.mark.parametrize("size", [7, 9, 0, 1000])
def test_byte_count_must_match(size):
    assert refused(request("FP32", [2], raw=bytes(size))) is Reason.TENSOR_BYTES


@pytest.mark.parametrize(
    "shape", [[-1], [2, -3], [2**31], [2**62, 2**62], [2**33, 2**31], [0, 2**62]]
)
def test_shape_is_negative_or_overflows(shape):
    assert refused(request("FP32", shape, raw=b"")) is Reason.TENSOR_SHAPE


def test_more_inputs_than_any_model_has():
    """Nobody else is answered while they are read: a message of 4 MB has room for 220,000."""
    message = oip.ModelInferRequest(model_name="m")
    for number in range(4097):
        message.inputs.add(name=str(number), datatype="BOOL")
        message.raw_input_contents.append(b"\0")
    assert refused(message) is Reason.TENSOR_NAME
    del message.inputs[-1], message.raw_input_contents[-1]
    assert len(read_inputs(message)) == 4096


def test_more_texts_than_any_batch_has():
    raw, count = bytes(4), 1 << 16
    assert read_inputs(request("BYTES", [count], raw=raw * count))["x"].shape == (count,)
    assert refused(request("BYTES", [count + 1], raw=raw * (count + 1))) is Reason.TENSOR_SHAPE
    typed = request("BYTES", [count + 1], bytes_contents=[b""] * (count + 1))
    assert refused(typed) is Reason.TENSOR_SHAPE


def test_unknown_datatype():
    assert refused(request("FP8", [1], raw=b"0")) is Reason.TENSOR_DATATYPE


def test_surplus_and_missing_raw_entries():
    message = request("FP32", [1], raw=bytes(4))
    message.raw_input_contents.append(bytes(4))
    assert refused(message) is Reason.RAW_CONTENTS_MISMATCH
    message = request("FP32", [1], raw=bytes(4))
    message.inputs.add(name="y", datatype="FP32", shape=[1])
    assert refused(message) is Reason.RAW_CONTENTS_MISMATCH


def test_raw_and_typed_together():
    message = request("FP32", [1], raw=bytes(4), fp32_contents=[1.0])
    assert refused(message) is Reason.RAW_CONTENTS_MISMATCH


def test_duplicate_name():
    message = request("FP32", [1], fp32_contents=[1.0])
    message.inputs.append(message.inputs[0])
    assert refused(message) is Reason.TENSOR_DUPLICATE


@pytest.mark.parametrize(
    "raw",
    [
        b"\x01",
        b"\xff\xff\xff\xff" + b"ab",
        b"\x03\x00\x00\x00" + b"ab",
        b"\x02\x00\x00\x00" + b"abX",
        b"",
    ],
)
def test_bytes_with_a_lying_length(raw):
    assert refused(request("BYTES", [1], raw=raw)) is Reason.TENSOR_BYTES


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "BF16"])
def test_nan_and_infinity(datatype, value):
    if datatype == "BF16":
        raw = (np.array([value], np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
    else:
        raw = np.array([value], RAW[datatype].dtype).tobytes()
    assert refused(request(datatype, [1], raw=raw)) is Reason.TENSOR_NOT_FINITE


@pytest.mark.parametrize(
    ("datatype", "field", "value"),
    [
        ("INT8", "int_contents", 128),
        ("INT16", "int_contents", -32769),
        ("UINT8", "uint_contents", 256),
        ("UINT16", "uint_contents", 65536),
    ],
)
def test_narrow_integers_are_never_truncated(datatype, field, value):
    assert refused(request(datatype, [1], **{field: [value]})) is Reason.TENSOR_RANGE


def test_bool_is_zero_or_one():
    assert refused(request("BOOL", [1], raw=b"\x02")) is Reason.TENSOR_RANGE


def test_typed_contents_of_another_type_or_count():
    assert refused(request("FP32", [1], fp64_contents=[1.0])) is Reason.TENSOR_BYTES
    assert refused(request("FP32", [2], fp32_contents=[1.0])) is Reason.TENSOR_BYTES
    assert refused(request("FP16", [1], fp32_contents=[1.0])) is Reason.TENSOR_BYTES
    both = request("FP32", [1], fp32_contents=[1.0], int_contents=[1])
    assert refused(both) is Reason.TENSOR_BYTES


def test_complex_numbers_have_no_wire_type():
    with pytest.raises(SealgateError) as caught:
        Tensor.of("x", np.array([1j]))
    assert caught.value.reason is Reason.TENSOR_DATATYPE


@given(
    st.sampled_from(["BOOL", "BYTES", "FP32", "INT8", "BF16", "nonsense"]),
    st.lists(st.integers(-3, 2**63 - 1), max_size=4),
    st.binary(max_size=64),
)
def test_whatever_comes_is_read_or_refused(datatype, shape, raw):
    try:
        tensor = read_inputs(request(datatype, shape, raw=raw))["x"]
    except SealgateError:
        return
    assert tensor.data.shape == tuple(shape)
    assert tensor.raw == raw


_LARGEST = 2**31 - 1


@pytest.mark.parametrize(
    "shape",
    [
        [1] * 100,
        [_LARGEST] * 500_000,
        [0, *[_LARGEST] * 500_000],
        [0, _LARGEST, _LARGEST, _LARGEST],
    ],
    ids=["deep", "deep-and-large", "deep-and-empty", "large-and-empty"],
)
def test_a_shape_that_no_array_can_have_is_refused_at_once(shape: list[int]) -> None:
    request = oip.ModelInferRequest()
    tensor = request.inputs.add(name="x", datatype="FP32", shape=shape)
    tensor.contents.fp32_contents.append(0.0)
    began = time.thread_time()
    with refused_with(Reason.TENSOR_SHAPE):
        read_inputs(request)
    # Milliseconds, where the product of all lengths would take a minute.
    assert time.thread_time() - began < 10


def test_an_empty_tensor_of_a_plain_shape_is_read() -> None:
    request = oip.ModelInferRequest(raw_input_contents=[b""])
    request.inputs.add(name="x", datatype="FP32", shape=[0, 64])
    assert read_inputs(request)["x"].data.shape == (0, 64)


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
@pytest.mark.parametrize("strange", [None, np.nan, np.inf, -np.inf])
def test_the_span_of_floats_is_numpys(size: int, strange: float | None) -> None:
    data = np.random.default_rng(size).normal(0, 1e6, size).astype("<f4")
    if strange is None:
        tensor = TensorForm.of("x", "FP32", (size,)).read(data.tobytes())
        assert tensor.span == (data.min(), data.max())
        return
    data[size // 2] = strange
    with refused_with(Reason.TENSOR_NOT_FINITE):
        TensorForm.of("x", "FP32", (size,)).read(data.tobytes())


def test_the_native_span_takes_whole_numbers_alone() -> None:
    front = pytest.importorskip("sealgate_front")
    with pytest.raises(ValueError, match="whole number"):
        front.float_span(bytes(7))
    assert np.isnan(front.float_span(struct.pack("<3f", 1, np.nan, 2))).all()


_WITHOUT = """
import sys
sys.modules["sealgate_front"] = None
import numpy as np
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import Tensor, TensorForm, digest_of

form = TensorForm.of("x", "FP32", (3,))
print(form.read(np.array([2, -1.5, 0], "<f4").tobytes()).span)
for strange in (np.nan, np.inf, -np.inf):
    try:
        form.read(np.array([2, strange, 0], "<f4").tobytes())
    except SealgateError as refusal:
        print(refusal.reason.name)
x, y = (Tensor.of(name, np.arange(5000, dtype="<f4")) for name in "xy")
print(digest_of([x]), digest_of([y, x]))
"""


def test_spans_and_digests_are_the_same_without_the_native_package() -> None:
    words = [sys.executable, "-c", _WITHOUT]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    x, y = (Tensor.of(name, np.arange(5000, dtype="<f4")) for name in "xy")
    digests = f"{digest_of([x])} {digest_of([x, y])}"
    assert done.stdout.split("\n") == ["(-1.5, 2.0)", *["TENSOR_NOT_FINITE"] * 3, digests, ""]


@pytest.mark.parametrize("size", [0, 1, 5000])
def test_the_digest_of_a_lone_tensor_is_that_of_its_parts(size: int) -> None:
    tensor = Tensor.of("größe", np.arange(size, dtype="<f4"))
    name, datatype = "größe".encode(), b"FP32"
    parts = [
        b"sealgate/tensors/v1\n",
        struct.pack(">Q", 1),
        struct.pack(">Q", len(name)) + name,
        struct.pack(">Q", len(datatype)) + datatype,
        struct.pack(">3Q", 1, size, 4 * size),
        tensor.raw,
    ]
    assert digest_of([tensor]) == "sha256:" + hashlib.sha256(b"".join(parts)).hexdigest()
