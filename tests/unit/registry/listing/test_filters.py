"""Filters are read strictly: what AIP-160 says of this part of it, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.listing.filters import (
    LONGEST,
    AllOf,
    AnyOf,
    Comparison,
    Negation,
    matches,
    parse_filter,
)
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.documents.people import refused

A, B, C = (Comparison(name, "=", "1") for name in "abc")


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("a = 1", A),
        ("  a=1  ", A),
        ("((a = 1))", A),
        ("a = 1 AND b = 1 AND c = 1", AllOf((A, B, C))),
        # OR binds closer than AND in AIP-160.
        ("a = 1 AND b = 1 OR c = 1", AllOf((A, AnyOf((B, C))))),
        ("a = 1 OR b = 1 AND c = 1", AllOf((AnyOf((A, B)), C))),
        ("(a = 1 AND b = 1) OR c = 1", AnyOf((AllOf((A, B)), C))),
        ("NOT a = 1 AND -b = 1", AllOf((Negation(A), Negation(B)))),
        ("NOT (a = 1 OR b = 1)", Negation(AnyOf((A, B)))),
        ("NOT(a = 1)", Negation(A)),
        ("create_time >= 2026-11-25T10:00:00+01:00", None),
        ("a:*", Comparison("a", ":", None)),
        ('a:"*"', Comparison("a", ":", "*")),
        ("a != AND", Comparison("a", "!=", "AND")),
        ('a = "x \\"y\\" \\\\ \'z\'"', Comparison("a", "=", "x \"y\" \\ 'z'")),
        ("a = 'x \\'y\\' \"z\"'", Comparison("a", "=", "x 'y' \"z\"")),
        ('a = ""', Comparison("a", "=", "")),
        ('a = "ünder é 文"', Comparison("a", "=", "ünder é 文")),
        ("a = sha256:00ff", Comparison("a", "=", "sha256:00ff")),
    ],
)
def test_filters_that_are_read(text, meaning):
    found = parse_filter(text)
    if meaning is None:
        meaning = Comparison("create_time", ">=", "2026-11-25T10:00:00+01:00")
    assert found == meaning


@pytest.mark.parametrize(
    "text",
    [
        " ",
        "a",
        "a b",
        "a =",
        "= 1",
        "a = 1 b = 1",
        "a = 1, b = 1",
        "a = 1 AND",
        "AND a = 1",
        "a = 1 and b = 1",
        "a = 1 ANDb = 1",
        "NOTa = 1 OR",
        "NOT NOT a = 1",
        "--a = 1",
        "(a = 1",
        "a = 1)",
        "()",
        "a == 1",
        "a <> 1",
        "a = *",
        "a:*:*",
        "a.b = 1",
        "A = 1",
        "1 = 1",
        "a = -1",
        'a = "x',
        'a = "\\n"',
        "a = 'x' -- y",
        "a = 1; DROP TABLE models",
        "a = 1 OR 1 = 1",
        "f(a)",
        "a = b(c)",
        "a = 1\n",
        'a = "x\x00"',
        'a = "\u202e"',
        "a = " + "1" * LONGEST,
        "(" * 33 + "a = 1" + ")" * 33,
        "-(" * 33 + "a = 1" + ")" * 33,
    ],
)
def test_filters_that_are_refused(text):
    with refused(Reason.FILTER_MALFORMED):
        parse_filter(text)


NAMES = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
VALUES = st.text(st.characters(codec="utf-8"), max_size=12).filter(str.isprintable)
COMPARISONS = st.builds(
    Comparison, NAMES, st.sampled_from(["=", "!=", "<", "<=", ">", ">=", ":"]), VALUES
)
PRESENCES = st.builds(Comparison, NAMES, st.just(":"), st.none())


def parts(nodes):
    return st.lists(nodes, min_size=2, max_size=3).map(tuple)


NODES = st.recursive(
    COMPARISONS | PRESENCES,
    lambda nodes: (
        st.builds(AllOf, parts(nodes)) | st.builds(AnyOf, parts(nodes)) | st.builds(Negation, nodes)
    ),
    max_leaves=8,
)


def written(node):
    match node:
        case AllOf(nodes):
            return " AND ".join(f"({written(part)})" for part in nodes)
        case AnyOf(nodes):
            return " OR ".join(f"({written(part)})" for part in nodes)
        case Negation(part):
            return f"NOT ({written(part)})"
    if node.value is None:
        return f"{node.field}:*"
    quoted = node.value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{node.field} {node.operator} "{quoted}"'


@given(NODES)
def test_what_is_written_is_read_again(node):
    text = written(node)
    if len(text) <= LONGEST and text.count("(") <= 32:
        assert parse_filter(text) == node


def reason(text):
    try:
        parse_filter(text)
    except SealgateError as refusal:
        return refusal.reason
    return None


@given(st.text() | st.text("ab =:()\"'\\-<>!*ANDORT", max_size=40))
def test_any_text_is_read_or_refused(text):
    assert reason(text) in (None, Reason.FILTER_MALFORMED)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("name = x", True),
        ("name != x", False),
        ("name = y OR name = x", True),
        ("name = y AND name = x", False),
        ("NOT name = y", True),
        ("name:*", True),
        ("other:*", False),
    ],
)
def test_fields_in_memory(text, found):
    assert matches(parse_filter(text), {"name": "x", "other": ""}) is found


@pytest.mark.parametrize("text", ["nome = x", "name = x OR nome = x", "name < x", "name:x"])
def test_fields_in_memory_that_are_refused(text):
    with refused(Reason.FILTER_MALFORMED):
        matches(parse_filter(text), {"name": "x"})
