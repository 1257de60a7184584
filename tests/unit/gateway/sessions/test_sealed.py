"""Sessions in a shared place: whoever keeps it reads nothing, and can make nothing up."""

import pytest

from gateway.sessions.sealed import SealedStore
from gateway.sessions.session_rows import START
from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused
from tests.support.fakes.shared_sessions import SharedStore

KEY = b"k" * 32
ROW = b"what a print holds"


def test_gateways_with_one_key_read_one_anothers_rows() -> None:
    place = SharedStore()
    one, other = SealedStore(place, KEY), SealedStore(place, KEY)
    _, cursor = one.exchange("s", [ROW], START)
    assert other.exchange("s", [b"second"], START)[0] == [ROW, b"second"]
    assert one.exchange("s", [], cursor)[0] == [b"second"]


def test_the_place_holds_nothing_that_can_be_read_or_compared() -> None:
    place = SharedStore()
    SealedStore(place, KEY).exchange("s", [ROW, ROW], START)
    first, second = place.exchange("s", [], START)[0]
    assert first != second
    assert ROW not in first + second


@pytest.mark.parametrize("row", [b"", b"short", b"x" * 60], ids=["empty", "short", "made-up"])
def test_a_row_that_no_gateway_sealed_is_refused(row: bytes) -> None:
    place = SharedStore()
    place.exchange("s", [row], START)
    with refused(Reason.SESSION_UNKNOWN):
        SealedStore(place, KEY).exchange("s", [], START)


def test_a_row_of_another_session_or_key_is_refused() -> None:
    place = SharedStore()
    SealedStore(place, KEY).exchange("s", [ROW], START)
    with refused(Reason.SESSION_UNKNOWN):
        SealedStore(place, b"x" * 32).exchange("s", [], START)
    place.exchange("t", place.exchange("s", [], START)[0], START)
    with refused(Reason.SESSION_UNKNOWN):
        SealedStore(place, KEY).exchange("t", [], START)
