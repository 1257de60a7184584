"""Times, digests, names and the fields of documents."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from sealgate.reasons import Reason
from sealgate.trust import canonical, fields, times
from sealgate.trust.fields import check_name, version_number
from tests.support.builders.documents.people import refused

MOMENT = datetime(2026, 11, 25, 10, 0, 0, 123456, tzinfo=UTC)


def test_times_are_written_in_utc() -> None:
    berlin = MOMENT.astimezone(timezone(timedelta(hours=1)))
    assert times.format_time(berlin) == "2026-11-25T10:00:00Z"
    assert times.format_micros(berlin) == "2026-11-25T10:00:00.123456Z"
    assert times.format_micros(MOMENT.replace(microsecond=0)) == "2026-11-25T10:00:00.000000Z"


def test_times_read_back() -> None:
    assert times.parse_time("2026-11-25T10:00:00Z") == MOMENT.replace(microsecond=0)
    assert times.parse_micros("2026-11-25T10:00:00.123456Z") == MOMENT
    assert times.parse_time("2026-11-25T10:00:00Z").utcoffset() == timedelta(0)


def test_a_time_without_zone_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="zone"):
        times.format_time(datetime(2026, 11, 25))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-25",
        "2026-11-25T10:00:00",
        "2026-11-25T10:00:00+00:00",
        "2026-11-25t10:00:00z",
        "2026-11-25 10:00:00Z",
        "2026-11-25T10:00:00.0Z",
        "2026-11-25T10:00:00Z\n",
        "2026-13-25T10:00:00Z",
        "2026-11-25T24:00:01Z",
        "\u0662\u0660\u0662\u0666-11-25T10:00:00Z",
        None,
    ],
)
def test_other_forms_of_time_are_refused(text: Any) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        times.parse_time(text)
    with refused(Reason.DOCUMENT_MALFORMED):
        times.parse_micros(text)


def test_digests() -> None:
    empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert canonical.sha256(b"") == empty
    assert canonical.check_digest(empty) == empty
    assert canonical.raw(empty).hex() == empty.removeprefix("sha256:")


@pytest.mark.parametrize(
    "text", ["", "sha256:", "a" * 64, "sha256:" + "A" * 64, "sha256:" + "a" * 65, None, 7]
)
def test_other_forms_of_digest_are_refused(text: Any) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        canonical.raw(text)


@pytest.mark.parametrize("text", ["a", "digits", "breast-cancer-1", "a" * 63])
def test_names(text: str) -> None:
    assert check_name(text) == text


@pytest.mark.parametrize(
    "text", ["", "A", "1a", "-a", "a_b", "a/b", "..", "a.b", "a" * 64, "a\n", "ä", "a b", None]
)
def test_other_names_are_refused(text: Any) -> None:
    with refused(Reason.NAME_MALFORMED):
        check_name(text)
    with refused(Reason.PARAMETER_MALFORMED):
        check_name(text, Reason.PARAMETER_MALFORMED)


@pytest.mark.parametrize(
    ("read", "arguments"),
    [
        (fields.record, ([], ("a",))),
        (fields.record, ({"a": 1, "b": 2}, ("a",))),
        (fields.record, ({}, ("a",))),
        (fields.record, ({"a": 1}, ("a",), "kind")),
        (fields.record, ({"a": 1, "type": "other"}, ("a",), "kind")),
        (fields.mapping, ([],)),
        (fields.items, ({},)),
        (fields.items, ("ab",)),
        (fields.text, (1,)),
        (fields.text, ("ab", 1)),
        (fields.texts, (["a", 1],)),
        (fields.integer, (True,)),
        (fields.integer, (1.0,)),
        (fields.integer, (-1,)),
        (fields.integer, (2**53,)),
        (fields.unique, (["a", "a"],)),
        (fields.unbase64, ("YQ",)),
        (fields.unbase64, ("YR==",)),
        (fields.unbase64, ("YQ==\n",)),
        (fields.unbase64, ("-_==",)),
        (fields.unbase64, ("é",)),
        (fields.unbase64, (None,)),
        (fields.unhex, ("AA", 1)),
        (fields.unhex, ("a a ", 2)),
        (fields.unhex, ("zz", 1)),
        (fields.unhex, ("aa", 2)),
        (fields.unhex, (None, 1)),
    ],
)
def test_fields_are_read_strictly(read: Any, arguments: tuple[Any, ...]) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        read(*arguments)


def test_a_version_has_a_number_in_its_only_spelling() -> None:
    assert version_number("17") == 17
    for text in ("", "0", "01", "+1", "1.0", "1\n", "\u0661", "1234567890"):
        with refused(Reason.VERSION_MALFORMED):
            version_number(text)
