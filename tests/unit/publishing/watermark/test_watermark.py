"""The mark itself: what its key reads, what other keys read, and what it costs."""

import hashlib
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper

from publishing.quantization import quantize
from publishing.serialization import parse_model
from publishing.watermark import embed_mark
from publishing.watermark.carrier_weights import read_carriers, write_carriers
from publishing.watermark.detection import MarkDetection, detect
from publishing.watermark.graph_marking import TARGET
from publishing.watermark.key import Mark, WatermarkCode, WatermarkKey, chips
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from tests.support.builders.models.onnx_models import Perceptron, with_external_data

KEY = WatermarkKey("digits", bytes(range(32)))
PAYLOAD = b"\1\2\3\4"
MODEL = Perceptron.random(3, inputs=64, hidden=256, classes=10)
MARK = Mark(KEY, PAYLOAD, sha256(MODEL.serving()))
CODE = MARK.code(worded=False)
ROWS = np.random.default_rng(7).random((256, 64), np.float32)


@pytest.fixture(scope="module")
def marked() -> bytes:
    return embed_mark(MODEL.serving(), MODEL.response(), MARK).serving


@pytest.fixture(scope="module")
def int8(marked: bytes) -> bytes:
    return quantize(marked, "x", ROWS)


def read(model: bytes, code: WatermarkCode = CODE) -> MarkDetection:
    return detect(weights(model), code)


def weights(model: bytes) -> list[npt.NDArray[np.float32]]:
    return [carrier.values for carrier in read_carriers(parse_model(model))]


def other_keys(count: int) -> list[WatermarkKey]:
    return [
        WatermarkKey("digits", hashlib.sha256(bytes([n % 256, n // 256])).digest())
        for n in range(count)
    ]


def other_codes(count: int) -> list[WatermarkCode]:
    return [key.presence(PAYLOAD) for key in other_keys(count)]


def test_chips_are_what_they_were() -> None:
    signs = chips(KEY.secret, "digits", (40, 30), 0)
    assert signs.shape == (40, 30)
    row = "".join("+" if sign > 0 else "-" for sign in signs[0])
    assert row == "++-+------+-+----+---+--+++-++"
    digest = hashlib.sha256(signs.astype(np.int8).tobytes()).hexdigest()
    assert digest == "b378ce833f560c0274f32d87f19fcaa4058d77a30797cbaa08a421cfa5e0e86d"


@pytest.mark.parametrize(
    ("secret", "model", "shape", "ordinal"),
    [
        (bytes(32), "digits", (40, 30), 0),
        (KEY.secret, "letters", (40, 30), 0),
        (KEY.secret, "digits", (30, 40), 0),
        (KEY.secret, "digits", (40, 30), 1),
    ],
)
def test_chips_of_another_place_are_unrelated(
    secret: bytes, model: str, shape: tuple[int, ...], ordinal: int
) -> None:
    mine = chips(KEY.secret, "digits", (40, 30), 0).ravel().astype(int)
    other = chips(secret, model, shape, ordinal).ravel().astype(int)
    assert abs(float(mine @ other)) / np.sqrt(mine.size) < 5


def test_the_mark_reads_its_target_in_fp32(marked: bytes) -> None:
    detection = read(marked)
    assert detection.found
    assert TARGET <= detection.z < TARGET + 0.1
    assert detection.weights == 64 * 256 + 256 * 10
    assert detection.log10_bound == pytest.approx(-128 * np.log10(2))


def test_the_mark_reads_from_the_int8_file_alone(int8: bytes) -> None:
    detection = read(int8)
    assert detection.found
    assert detection.z > 15
    assert detection.weights == 64 * 256 + 256 * 10


def test_an_unmarked_model_reads_near_nothing() -> None:
    detection = read(MODEL.serving())
    assert abs(detection.z) < 4
    assert not detection.found
    assert detection.log10_bound > -4


def test_a_thousand_wrong_keys_read_near_nothing(marked: bytes, int8: bytes) -> None:
    for model in (marked, int8):
        read_once = weights(model)
        assert max(detect(read_once, code).z for code in other_codes(1000)) < 6


def test_the_key_of_another_model_reads_nothing(marked: bytes) -> None:
    assert abs(read(marked, WatermarkKey("letters", KEY.secret).presence(PAYLOAD)).z) < 6


def test_the_bound_is_hoeffdings_below_its_cap() -> None:
    detection = detect([signs((10, 12), 0)], CODE)
    assert 9 < detection.z <= 11
    assert detection.log10_bound == pytest.approx(-(detection.z**2) / 2 / np.log(10))


def test_the_search_among_matrices_of_one_shape_is_paid_for() -> None:
    pair = [signs((10, 12), place) for place in (0, 1)]
    expected = np.sqrt(detect(pair[:1], CODE).z ** 2 * 2 - 2 * np.log(2))
    for order in (pair, pair[::-1]):
        assert detect(order, CODE).z == pytest.approx(expected, rel=0.05)
    noise = np.random.default_rng(2).standard_normal((24, 40, 30)).astype(np.float32)
    assert max(detect(list(noise), code).z for code in other_codes(20)) < 6


def test_marking_moves_each_weight_by_the_same_share_of_its_spread(marked: bytes) -> None:
    pairs = zip(weights(MODEL.serving()), weights(marked), strict=True)
    (share,) = {round(float(np.abs(new - old).max() / old.std()), 4) for old, new in pairs}
    assert 0 < share < 0.15


def sparse(zeros: float) -> tuple[bytes, list[npt.NDArray[np.float32]]]:
    """The model with that share of each matrix's weights set to zero."""
    model = parse_model(MODEL.serving())
    carriers = read_carriers(model)
    kept = [
        np.where(np.abs(each.values) < np.quantile(np.abs(each.values), zeros), 0, each.values)
        for each in carriers
    ]
    return bytes(write_carriers(model, carriers, kept)), kept


def test_where_half_the_weights_are_zero_none_moves_by_more_than_its_own_size() -> None:
    serving, before = sparse(0.5)
    after = weights(embed_mark(serving, _with_weights_of(serving), MARK).serving)
    assert detect(after, CODE).z >= TARGET
    for old, new in zip(before, after, strict=True):
        assert np.all(np.abs(new - old) <= np.abs(old) * (1 + 1e-6))


def test_what_is_nearly_all_zero_carries_the_mark_in_zeros_too() -> None:
    serving, before = sparse(0.9)
    after = weights(embed_mark(serving, _with_weights_of(serving), MARK).serving)
    assert detect(after, CODE).z >= TARGET
    moved = [np.abs(new - old) / old.std() for old, new in zip(before, after, strict=True)]
    assert all(each.min() > 0 and each.max() < 0.15 for each in moved)


def test_what_the_weights_hold_already_is_not_added_again() -> None:
    result = embed_mark(MODEL.serving(), MODEL.response(), MARK)
    again = embed_mark(result.serving, result.response, MARK)
    assert again.amplitude == 0
    assert again.serving == result.serving


def test_the_mark_outlives_pruning_and_another_mark(marked: bytes) -> None:
    pruned = [
        np.where(np.abs(values) < np.quantile(np.abs(values), 0.5), np.float32(0), values)
        for values in weights(marked)
    ]
    assert detect(pruned, CODE).found
    other_key = other_keys(1)[0]
    overwritten = embed_mark(marked, _with_weights_of(marked), replace(MARK, key=other_key)).serving
    assert read(overwritten).found
    assert read(overwritten, other_key.presence(PAYLOAD)).found


def test_both_graphs_carry_the_same_weights() -> None:
    result = embed_mark(MODEL.serving(), MODEL.response(), MARK)
    serving, response = parse_model(result.serving), parse_model(result.response)
    assert _contents(serving) == {
        name: content for name, content in _contents(response).items() if name in ("w1", "w2")
    }
    assert read(result.response).z == pytest.approx(result.detection.z)


def test_marking_is_deterministic() -> None:
    assert embed_mark(MODEL.serving(), MODEL.response(), MARK) == embed_mark(
        MODEL.serving(), MODEL.response(), MARK
    )


def test_too_few_weights_are_refused() -> None:
    small = Perceptron.random(3, inputs=64, hidden=128, classes=10)
    with pytest.raises(SealgateError) as refused:
        embed_mark(small.serving(), small.response(), MARK)
    assert refused.value.reason is Reason.WATERMARK_CAPACITY


def test_a_mark_beyond_reach_is_refused() -> None:
    with pytest.raises(SealgateError) as refused:
        embed_mark(MODEL.serving(), MODEL.response(), MARK, target=200)
    assert refused.value.reason is Reason.WATERMARK_CAPACITY


def test_a_response_graph_of_another_model_is_refused() -> None:
    other = Perceptron.random(4, inputs=64, hidden=256, classes=10)
    with pytest.raises(SealgateError) as refused:
        embed_mark(MODEL.serving(), other.response(), MARK)
    assert refused.value.reason is Reason.GRAPH_MISMATCH


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff\xff", Reason.FORMAT_REFUSED),
        (with_external_data(MODEL.serving()), Reason.EXTERNAL_DATA),
    ],
)
def test_what_is_no_whole_model_is_refused(data: bytes, reason: Reason) -> None:
    with pytest.raises(SealgateError) as refused:
        embed_mark(data, MODEL.response(), MARK)
    assert refused.value.reason is reason


def signs(shape: tuple[int, ...], ordinal: int) -> npt.NDArray[np.float32]:
    return CODE.signs(shape, ordinal).astype(np.float32)


def _with_weights_of(marked: bytes) -> bytes:
    """The response graph for the weights of a marked serving graph."""
    response = parse_model(MODEL.response())
    tensors = {tensor.name: tensor for tensor in response.graph.initializer}
    for tensor in parse_model(marked).graph.initializer:
        tensors[tensor.name].CopyFrom(tensor)
    return bytes(response.SerializeToString())


def _contents(model: onnx.ModelProto) -> dict[str, bytes]:
    return {
        tensor.name: numpy_helper.to_array(tensor).tobytes()
        for tensor in model.graph.initializer
        if len(tensor.dims) == 2
    }
