"""The payload's own code: what it mends, and what it does not."""

import numpy as np
import pytest

from publishing.watermark import key
from sealgate.reasons import Reason, SealgateError

PAYLOAD = b"\x01\x02\xfe\xff"


def strengths(*wrong: int, weak: float = 1.0) -> np.ndarray:
    """Sure of every bit but those at the places in `wrong`, which read `weak` the wrong way."""
    found = key.codeword(PAYLOAD) * 6.0
    found[list(wrong)] *= -weak
    return found


def test_a_payload_comes_back() -> None:
    word = key.codeword(PAYLOAD)
    assert word.shape == (key.PAYLOAD_BITS,)
    assert set(word) == {-1, 1}
    assert key.decode_payload(strengths()) == PAYLOAD


def test_two_wrong_bytes_are_mended_however_sure_they_look() -> None:
    assert key.decode_payload(strengths(0, 3, 40, 41)) == PAYLOAD


def test_a_doubtful_byte_may_be_wrong_besides() -> None:
    # One error that looks sure, and two that look doubtful: more than two unknown ones.
    found = strengths(0)
    found[[17, 33]] *= -0.01
    assert key.decode_payload(found) == PAYLOAD


def test_three_wrong_bytes_that_look_sure_are_not_mended() -> None:
    assert key.decode_payload(strengths(24, 33, 42)) != PAYLOAD


def test_random_signs_are_seldom_a_codeword() -> None:
    rng = np.random.default_rng(1)
    found = [key.decode_payload(rng.standard_normal(key.PAYLOAD_BITS)) for _ in range(500)]
    assert sum(each is not None for each in found) < 40
    assert PAYLOAD not in found


@pytest.mark.parametrize("size", [0, 3, 5])
def test_a_payload_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(SealgateError) as refused:
        key.codeword(bytes(size))
    assert refused.value.reason is Reason.PARAMETER_MALFORMED
