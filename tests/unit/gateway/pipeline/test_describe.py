"""An entry of the index, in the protocol's words."""

from gateway.pipeline.describe import index_entry
from inference.engine import IndexedVersion
from sealgate.reasons import Reason


def test_what_answers_is_ready() -> None:
    entry = index_entry(IndexedVersion("digits", 3, None))
    assert (entry.name, entry.version, entry.state, entry.reason) == ("digits", "3", "READY", "")


def test_what_does_not_says_why_and_no_version_where_none_is_known() -> None:
    entry = index_entry(IndexedVersion("digits", 0, Reason.VERSION_REVOKED))
    assert (entry.version, entry.state, entry.reason) == ("", "UNAVAILABLE", "VERSION_REVOKED")
