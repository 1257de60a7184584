"""Page tokens and sizes, as AIP-158 has them, over names that no database holds."""

import base64

import pytest

from registry.listing.paging import DEFAULT_SIZE, LARGEST_SIZE, ListQuery, list_page
from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused

NAMES = [f"log-{number:03}" for number in range(3 * LARGEST_SIZE)]


def page(names=NAMES, **asked):
    return list_page(names, ListQuery(**asked), "name")


def test_sizes():
    assert len(page().records) == DEFAULT_SIZE
    assert len(page(page_size=7).records) == 7
    assert len(page(page_size=10 * LARGEST_SIZE).records) == LARGEST_SIZE
    with refused(Reason.PARAMETER_MALFORMED):
        page(page_size=-1)


@pytest.mark.parametrize("size", [1, 2, 6, 7, 8])
def test_pages_lead_through_everything_once(size):
    found, token = [], ""
    while True:
        here = page(NAMES[:7], page_size=size, page_token=token)
        found += here.records
        token = here.next_page_token
        if not token:
            break
    assert found == NAMES[:7]


def test_the_size_may_change_between_pages_and_the_filter_may_not():
    token = page(page_size=2, filter="name:*").next_page_token
    assert page(page_size=3, filter="name:*", page_token=token).records == tuple(NAMES[2:5])
    for other in ("", 'name = "log-003"', "name:* "):
        with refused(Reason.PAGE_TOKEN_MALFORMED):
            page(page_size=2, filter=other, page_token=token)


def test_a_filter_comes_before_the_page():
    wanted = " OR ".join(f"name = {name}" for name in NAMES[10:13])
    first = page(page_size=2, filter=wanted)
    assert first.records == tuple(NAMES[10:12])
    rest = page(page_size=2, filter=wanted, page_token=first.next_page_token)
    assert (rest.records, rest.next_page_token) == ((NAMES[12],), "")


def test_tokens_that_are_refused():
    token = page(page_size=2).next_page_token
    flipped = bytearray(base64.urlsafe_b64decode(token))
    flipped[-1] ^= 1
    for bad in (
        "2",
        token[:-1],
        token + "A",
        token + "====",
        "*" + token[1:],
        base64.urlsafe_b64encode(flipped).decode(),
        ListQuery().token(3, "models"),
    ):
        with refused(Reason.PAGE_TOKEN_MALFORMED):
            page(page_token=bad)
    with refused(Reason.PAGE_TOKEN_MALFORMED):
        page(NAMES[1:], page_token=token)


def test_positions_that_somebody_made_up_only_skip():
    for position in (-(1 << 63), -1, (1 << 63) - 1):
        made_up = ListQuery().token(position, "name", *NAMES)
        assert set(page(page_token=made_up).records) <= set(NAMES)
