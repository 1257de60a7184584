"""A client gives its update to a sum of three or more that is taken whole, and to nothing else."""

from typing import Any

import pytest

from sealgate.reasons import Reason, SealgateError
from training.federated.participant import Consent
from training.recipe.federated import MODULUS, QUANTA, TRIES, FederatedSection

ASKED = FederatedSection()
SETUP = {
    "stage": "setup",
    "sample_num": 3,
    "share_num": 3,
    "threshold": 3,
    "clipping_range": ASKED.clip,
    "target_range": QUANTA,
    "mod_range": MODULUS,
    "max_weight": 1.0,
}
KEYS = {"stage": "share_keys", "11": [b"", b""], "12": [b"", b""], "13": [b"", b""]}
COLLECT = {"stage": "collect_masked_vectors", "srcs": [12, 13], "ctxts": [b"", b""]}
UNMASK = {"stage": "unmask", "active_nids": [13, 11, 12], "dead_nids": []}
ALL = (SETUP, KEYS, COLLECT, UNMASK)


def refused(*requests: dict[str, Any]) -> SealgateError:
    consent = Consent(ASKED)
    for request in requests[:-1]:
        consent.look(11, request)
    with pytest.raises(SealgateError) as found:
        consent.look(11, requests[-1])
    assert found.value.reason is Reason.SUM_REFUSED
    return found.value


def test_it_goes_along_with_sums_one_after_another() -> None:
    consent = Consent(ASKED)
    for _ in range(2):
        for request in ALL:
            consent.look(11, request)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sample_num", 2),
        ("sample_num", None),
        ("threshold", 2),
        ("share_num", 4),
        ("clipping_range", 1e6),
        ("target_range", 2 * QUANTA),
        ("mod_range", 2 * MODULUS),
        ("max_weight", 1e9),
    ],
)
def test_other_settings_are_refused(name: str, value: object) -> None:
    refused(SETUP | {name: value})


def test_other_groups_are_refused() -> None:
    fewer = {name: value for name, value in KEYS.items() if name != "13"}
    without_own = {name: value for name, value in KEYS.items() if name != "11"}
    for keys in (fewer, without_own | {"14": [b"", b""]}, KEYS | {"14": [b"", b""]}):
        refused(SETUP, keys)


def test_a_sum_of_a_part_is_refused() -> None:
    for sources in ([12], [12, 12], [12, 14], []):
        refused(SETUP, KEYS, COLLECT | {"srcs": sources})
    for active in ([11, 12], [11, 12, 12], [11, 12, 14], []):
        refused(SETUP, KEYS, COLLECT, UNMASK | {"active_nids": active})


def test_masks_stay_on_whoever_is_said_to_be_gone() -> None:
    refused(SETUP, KEYS, COLLECT, UNMASK | {"dead_nids": [12]})
    refused(SETUP, KEYS, COLLECT, UNMASK | {"active_nids": [11, 12], "dead_nids": [13]})


def test_nothing_is_given_without_what_comes_before() -> None:
    refused(COLLECT)
    refused(UNMASK)
    refused(SETUP, COLLECT)
    # A new sum begins with nothing of the last one.
    refused(SETUP, KEYS, SETUP, COLLECT)
    refused({"stage": "dance"})
    refused({})


@pytest.mark.parametrize("number", [0, -(10**9), ASKED.rounds + 1])
def test_rounds_that_the_recipe_has_not_are_refused(number: int) -> None:
    with pytest.raises(SealgateError) as found:
        Consent(ASKED).look_at_round(number)
    assert found.value.reason is Reason.SUM_REFUSED


def test_a_round_is_tried_so_often_and_no_more() -> None:
    consent = Consent(ASKED)
    for number in range(1, ASKED.rounds + 1):
        for _ in range(TRIES):
            consent.look_at_round(number)
    for number in range(1, ASKED.rounds + 1):
        with pytest.raises(SealgateError) as found:
            consent.look_at_round(number)
        assert found.value.reason is Reason.SUM_REFUSED
