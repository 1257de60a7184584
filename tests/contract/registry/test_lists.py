"""Every list of the registry in pages and with filters, while it grows."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.credentials.api_keys import ApiKeyRecord
from registry.listing.filters import matches, parse_filter
from registry.listing.paging import FIRST_PAGE, ListQuery, Page
from sealgate.reasons import Reason
from tests.support.builders.documents.people import NOW, refused
from tests.support.harness.registry import RegistryHarness

List = Callable[[ListQuery], Page[Any]]


def create_key(harness: RegistryHarness, number: int) -> None:
    harness.registry.api_keys.create(
        "otto", f"{number:012x}", "carla", f"no. {number}", NOW + timedelta(days=7), "d" * 64
    )


def fill(harness: RegistryHarness, name: str) -> tuple[List, Callable[[int], Any], bool]:
    """A list, how its item of a number is added, and whether the newest comes first."""
    registry = harness.registry
    if name == "models":
        return registry.models.list, lambda n: registry.models.create("paula", f"m-{n}"), False
    if name == "versions":
        return (
            lambda a: registry.versions.list("digits", a),
            lambda n: harness.publish(f"v{n}"),
            False,
        )
    if name == "api_keys":
        return registry.api_keys.list, lambda n: create_key(harness, n), False
    version = harness.publish("first")
    if name == "proposals":
        return (
            lambda a: registry.proposals.list("digits", a),
            lambda n: harness.propose(version, not_after=f"2026-12-01T00:00:{n:02}Z"),
            False,
        )
    released = harness.release(version), harness.release(harness.publish("two"), predecessor=1)
    return (
        lambda a: registry.pointers.history("digits", "production", a),
        lambda n: harness.roll_back(released[n % 2], n + 3),
        True,
    )


def place(record: Any) -> Any:
    return record.key_id if isinstance(record, ApiKeyRecord) else record.entry


NAMES = ("models", "versions", "proposals", "pointers", "api_keys")


@pytest.mark.parametrize("name", NAMES)
def test_pages_while_the_list_grows(harness: RegistryHarness, name: str) -> None:
    read, add, newest_first = fill(harness, name)
    for number in range(5):
        add(number)
    before = read(ListQuery()).records
    assert list(map(place, before)) == sorted(map(place, before), reverse=newest_first)
    found: list[Any] = []
    token, number = "", 5
    while True:
        page = read(ListQuery(page_size=2, page_token=token))
        assert len(page.records) == 2 or not page.next_page_token
        found += page.records
        token = page.next_page_token
        if not token:
            break
        if number < 8:
            add(number)
            number += 1
    assert len(set(map(place, found))) == len(found)
    # Earlier records come once; later ones come last, or not at all.
    grown = read(ListQuery()).records
    assert tuple(found) == (before if newest_first else grown)
    assert len(grown) == len(before) + number - 5


@pytest.mark.parametrize("name", NAMES)
def test_tokens_hold_for_their_list_alone(harness: RegistryHarness, name: str) -> None:
    read, add, _ = fill(harness, name)
    for number in range(3):
        add(number)
    token = read(ListQuery(page_size=1)).next_page_token
    with refused(Reason.PAGE_TOKEN_MALFORMED):
        read(ListQuery(page_token=token, filter="digest:*"))
    harness.registry.models.create("paula", "letters")
    others = [
        lambda: harness.registry.versions.list("letters", ListQuery(page_token=token)),
        lambda: harness.registry.proposals.list("letters", ListQuery(page_token=token)),
    ]
    others += [lambda: harness.registry.models.list(ListQuery(page_token=token))] * (
        name != "models"
    )
    for other in others:
        with refused(Reason.PAGE_TOKEN_MALFORMED):
            other()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "filter_",
    [
        "nome = x",
        "entry = 1",
        "model.entry = 1",
        'digest = "x" OR 1 = 1',
        "create_time > yesterday",
        "create_time > 2026-11-25",
        "create_time > 2026-13-25T00:00:00Z",
        "create_time > 0000-01-01T00:00:00Z",
        "version = one",
        "sequence = 1.5",
        "latest_version = 99999999999999999999",
        "latest_version:*",
        "approver = anna",
        "creator < x",
        "creator:x",
        "revocation_reason = x",
    ],
)
def test_fields_that_are_refused(harness: RegistryHarness, name: str, filter_: str) -> None:
    with refused(Reason.FILTER_MALFORMED):
        fill(harness, name)[0](ListQuery(filter=filter_))


INJECTIONS = ("' OR '1'='1", '"; DROP TABLE models; --', "%", "_", "\\", "\\' OR 1=1 --", "*")


@pytest.mark.parametrize("value", INJECTIONS)
def test_values_are_values(harness: RegistryHarness, value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    for name, field in (("models", "creator"), ("models", "name"), ("api_keys", "label")):
        read, add, _ = fill(harness, name)
        assert read(ListQuery(filter=f'{field} = "{quoted}"')).records == ()
    add(1)
    keys = harness.registry.api_keys
    keys.create("otto", "f" * 12, "carla", value, NOW + timedelta(days=1), "d" * 64)
    (found,) = keys.list(ListQuery(filter=f'label = "{quoted}"')).records
    assert found.label == value
    harness.registry.verify()


def numbers(records: tuple[Any, ...], field: str) -> list[Any]:
    return [getattr(record, field) for record in records]


@pytest.mark.parametrize(
    ("filter_", "found"),
    [
        ("name = models/letters", ["letters"]),
        ("creator = paula AND NOT name = models/digits", ["letters"]),
        ("creator != paula", ["faces"]),
        ("latest_version > 0", ["digits"]),
        ("latest_version = 0 AND (creator = peter OR name = models/letters)", ["letters", "faces"]),
        ("create_time > 2026-11-25T10:00:00Z", ["faces"]),
        ("create_time <= 2026-11-25T11:00:00+01:00", ["digits", "letters"]),
        ('-create_time < "2026-11-25T12:00:00Z"', ["faces"]),
    ],
)
def test_filters_of_models(harness: RegistryHarness, filter_: str, found: list[str]) -> None:
    harness.publish()
    harness.registry.models.create("paula", "letters")
    harness.now = NOW + timedelta(hours=2)
    harness.registry.models.create("peter", "faces")
    assert (
        numbers(harness.registry.models.list(ListQuery(filter=filter_)).records, "model") == found
    )


def test_filters_of_versions_proposals_and_pointers(harness: RegistryHarness) -> None:
    first, second = harness.publish("one"), harness.publish("two")
    released = harness.release(first)
    harness.release(second, predecessor=1)
    harness.propose(second, predecessor=2, alias="production")
    harness.roll_back(released, 3)
    harness.revoke(second)

    def versions(filter_: str) -> list[int]:
        return numbers(
            harness.registry.versions.list("digits", ListQuery(filter=filter_)).records, "version"
        )

    def proposals(filter_: str) -> list[int]:
        page = harness.registry.proposals.list("digits", ListQuery(filter=filter_))
        return numbers(page.records, "version")

    def moves(filter_: str) -> list[int]:
        page = harness.registry.pointers.history("digits", "production", ListQuery(filter=filter_))
        return numbers(page.records, "sequence")

    assert versions("revocation_reason:*") == [2]
    assert versions("NOT revocation_reason:*") == [1]
    assert versions("name = models/digits/versions/2") == [2]
    assert versions(f"digest = {first.digest} AND publisher = paula") == [1]
    assert versions("version >= 1 AND version < 2") == [1]
    assert proposals("approver:anna AND alias = production") == [1, 2]
    assert proposals("NOT approver:anna") == [2]
    assert proposals("version >= 2 OR proposer = nobody") == [2, 2]
    assert moves("") == [3, 2, 1]
    assert moves("action = rollback") == [3]
    assert moves("sequence < 2 AND version = 1 AND admin = otto") == [1]


def test_moves_of_all_aliases_and_where_they_point_now(harness: RegistryHarness) -> None:
    first, second = harness.publish("one"), harness.publish("two")
    harness.release(first)
    canary = harness.propose(second, alias="canary")
    harness.promote(harness.approve(canary, "anna", "arne"))
    harness.release(second, predecessor=1)

    def moves(asked: ListQuery = FIRST_PAGE) -> list[tuple[str, int]]:
        page = harness.registry.pointers.history("digits", asked=asked)
        return [(move.alias, move.version) for move in page.records]

    every = [("production", 2), ("canary", 2), ("production", 1)]
    assert moves() == every
    assert moves(ListQuery(page_size=1)) == every[:1]
    assert moves(ListQuery(filter="newest:*")) == every[:2]
    assert moves(ListQuery(filter="NOT newest:*")) == every[2:]
    pointers = harness.registry.pointers
    token = pointers.history("digits", asked=ListQuery(page_size=2)).next_page_token
    assert moves(ListQuery(page_token=token)) == every[2:]
    with refused(Reason.PAGE_TOKEN_MALFORMED):
        pointers.history("digits", "production", ListQuery(page_token=token))


def test_a_model_without_moves_has_an_empty_list_of_them(harness: RegistryHarness) -> None:
    harness.publish("one")
    assert harness.registry.pointers.history("digits").records == ()
    with refused(Reason.MODEL_UNKNOWN):
        harness.registry.pointers.history("letters")


def test_filters_of_keys(harness: RegistryHarness) -> None:
    create_key(harness, 1)
    create_key(harness, 2)
    harness.now = NOW + timedelta(hours=1)
    harness.registry.api_keys.revoke("otto", f"{1:012x}", "leaked")

    def labels(filter_: str) -> list[str]:
        return numbers(harness.registry.api_keys.list(ListQuery(filter=filter_)).records, "label")

    assert labels("revoke_time:*") == ["no. 1"]
    assert labels("NOT revoke_time:*") == ["no. 2"]
    # An absent value is before no time and after none.
    assert labels("revoke_time < 2030-01-01T00:00:00Z") == ["no. 1"]
    assert labels("revoke_time >= 2000-01-01T00:00:00Z AND revoker = otto") == ["no. 1"]
    assert labels('label = "no. 2" OR name = api-keys/000000000001') == ["no. 1", "no. 2"]
    assert labels("expire_time > 2026-12-02T10:00:00Z") == []


COMPARISONS = st.builds(
    "{} {}".format,
    st.sampled_from(["name", "creator"]),
    st.sampled_from([":*", "= paula", "!= paula", "= peter", "= models/m-1", "!= models/m-2"]),
)
FILTERS = st.recursive(
    COMPARISONS,
    lambda inner: (
        st.builds("({} AND {})".format, inner, inner)
        | st.builds("({} OR {})".format, inner, inner)
        | st.builds("NOT ({})".format, inner)
    ),
    max_leaves=5,
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FILTERS)
def test_sql_and_memory_find_the_same(harness: RegistryHarness, filter_: str) -> None:
    models = harness.registry.models
    if len(models.list().records) == 1:
        for number, creator in enumerate(("paula", "peter", "paula")):
            models.create(creator, f"m-{number}")
    node = parse_filter(filter_)
    expected = [
        record
        for record in models.list().records
        if matches(node, {"name": f"models/{record.model}", "creator": record.creator})
    ]
    assert list(models.list(ListQuery(filter=filter_)).records) == expected
