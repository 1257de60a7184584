"""Filter expressions of lists: a strict subset of AIP-160.

Comparisons of fields with values, joined by AND, by OR, which binds closer, by NOT or `-`,
and by parentheses. A value is a word or a quoted string. `field:*` asks whether the field is there.
Filters of another form are refused, and so are unreasonably long ones.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from lark import Lark, Transformer, v_args
from lark.exceptions import LarkError

from sealgate.reasons import Reason, SealgateError

LONGEST = 1000
_KEPT = 256
_MOST_GROUPS = 32

_GRAMMAR = r"""
?filter: factor
       | factor (_AND factor)+ -> every
?factor: term
       | term (_OR term)+      -> some
?term: simple
     | (_NOT | "-") simple     -> negation
?simple: "(" filter ")"
       | FIELD OPERATOR value  -> comparison
       | FIELD HAS value       -> comparison
       | FIELD HAS anything    -> comparison
?value: WORD                   -> word
      | STRING                 -> string
anything: "*"

_AND: /AND\b/
_OR: /OR\b/
_NOT: /NOT\b/
FIELD: /[a-z][a-z_]*/
OPERATOR: /<=|>=|!=|=|<|>/
HAS: ":"
WORD: /[A-Za-z0-9][A-Za-z0-9._+:\/@-]*/
STRING: /"([^"\\]|\\["'\\])*"|'([^'\\]|\\["'\\])*'/
%ignore " "
"""


@dataclass(frozen=True, slots=True)
class Comparison:
    """`operator` is one of = != < <= > >= and `:`; `value` is None for `:*`."""

    field: str
    operator: str
    value: str | None


@dataclass(frozen=True, slots=True)
class AllOf:
    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Negation:
    part: "Node"


Node: TypeAlias = Comparison | AllOf | AnyOf | Negation


@lru_cache(_KEPT)
def parse_filter(text: str) -> Node:
    """Read a filter that is not empty. Raises SealgateError(FILTER_MALFORMED)."""
    # In the grammar only groups nest, and whoever follows what it yields may do so by recursion.
    if len(text) > LONGEST or not text.isprintable() or text.count("(") > _MOST_GROUPS:
        raise malformed("too long, too deep, or not a line of text")
    try:
        tree: Node = _PARSER.parse(text)  # type: ignore[assignment]
    except LarkError as error:
        raise malformed(str(error).partition("\n")[0]) from error
    return tree


def matches(node: Node, texts: Mapping[str, str]) -> bool:
    """Whether the fields, all of them text, are what the filter asks for.

    Raises SealgateError(FILTER_MALFORMED).
    """
    match node:
        case AllOf(parts):
            # Not by `all`, which would leave the later parts unread.
            return False not in [matches(part, texts) for part in parts]
        case AnyOf(parts):
            return True in [matches(part, texts) for part in parts]
        case Negation(part):
            return not matches(part, texts)
    field = texts.get(node.field)
    if field is not None and (node.operator, node.value) == (":", None):
        return field != ""
    if field is None or node.operator not in ("=", "!="):
        raise malformed(f"{node.field} {node.operator}")
    return (field == node.value) is (node.operator == "=")


def malformed(detail: str) -> SealgateError:
    return SealgateError(Reason.FILTER_MALFORMED, detail)


@v_args(inline=True)
class _Tree(Transformer):
    def every(self, *parts: Node) -> Node:
        return AllOf(parts)

    def some(self, *parts: Node) -> Node:
        return AnyOf(parts)

    def negation(self, part: Node) -> Node:
        return Negation(part)

    def comparison(self, field: str, operator: str, value: str | None) -> Node:
        return Comparison(str(field), str(operator), value)

    def word(self, text: str) -> str:
        return str(text)

    def string(self, text: str) -> str:
        return re.sub(r"\\(.)", r"\1", text[1:-1])

    def anything(self) -> None:
        return None


_PARSER = Lark(_GRAMMAR, start="filter", parser="lalr", transformer=_Tree())
