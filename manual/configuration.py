"""Writes docs/reference/configuration.md: every setting, from the dataclasses of each file.

A setting is described by its own docstring, the string behind it, and by those sentences of its
section's docstring that mention it. The other sentences stand above the table.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_origin

from console.config import ConsoleConfig
from gateway.config.document import GatewayConfig
from generation.config import GeneratorConfig
from inference.server.config import EngineConfig
from sealgate.events.config import EventsConfig
from sealgate.remote import Profile
from sealgate.witness.commands import WitnessConfig

FILES: tuple[tuple[str, type, str], ...] = (
    ("gateway.toml", GatewayConfig, "The configuration of `sealgate serve`."),
    ("engine.toml", EngineConfig, "The configuration of `sealgate serve engine`."),
    (
        "generator.toml",
        GeneratorConfig,
        "The configuration of `sealgate serve generator`, a process that generates text.",
    ),
    ("console.toml", ConsoleConfig, "The configuration of `sealgate serve console`."),
    (
        "events.toml",
        EventsConfig,
        "The configuration of `sealgate serve events`, webhooks for other systems.",
    ),
    ("witness.toml", WitnessConfig, "The configuration of `sealgate witness serve`."),
    (
        "profile.toml",
        Profile,
        "The configuration of a person's commands: their key, and whom they trust.",
    ),
)
"""Each file: its name, the dataclass that it becomes, and what reads it."""

_HEAD = """\
# Configuration

Generated from the code (`make docs`); a test holds this page against it.

Files are TOML. A section or setting that is unknown, missing or of another type is an error that \
says what to change, and nothing starts. Relative paths start at the file's own folder. Numbers \
are positive. A dash means that the setting is not set by default.
"""
_KINDS: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    Path | None: "path",
    Path | str: "path or URI",
    Path | str | None: "path or URI",
    tuple[Path, ...]: "list of paths",
    tuple[str, ...]: "list of texts",
    tuple[int, ...]: "list of whole numbers",
}
_SENTENCES = re.compile(r"(?<=\.)\s+(?=[A-Z`\"])")


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of a table. `purpose` is empty where no docstring says anything of it."""

    name: str
    kind: str
    default: str
    purpose: str


def page() -> str:
    """The whole page, as Markdown."""
    parts = [_HEAD]
    for name, kind, reader in FILES:
        parts += [f"## {name}\n", f"{reader}\n", *_file(kind)]
    return "\n".join(parts)


def sections(kind: type) -> Iterator[tuple[str, type, bool]]:
    """The sections of a file: its heading, its dataclass, and whether it may be left out."""
    for item in fields(kind):
        repeated = get_origin(item.type) is tuple
        section: Any = get_args(item.type)[0] if repeated else item.type
        heading = f"[[{item.name}]]" if repeated else f"[{item.name}]"
        yield heading, section, not _is_needed(item)


def settings(section: type) -> list[Setting]:
    """The settings of one section, in the order in which they are declared."""
    own, shared = dict[str, list[str]](), _sentences(section)
    for kind in reversed(section.__mro__[:-1]):
        own |= _own_docstrings(kind)
    return [
        Setting(
            item.name,
            _KINDS.get(item.type, str(item.type)),
            _default(item),
            " ".join([*own.get(item.name, []), *_about(item.name, shared)]),
        )
        for item in fields(section)
        if item.init
    ]


def _file(kind: type) -> Iterator[str]:
    if all(item.type in _KINDS for item in fields(kind)):
        yield from _table(kind)
        return
    for heading, section, optional in sections(kind):
        yield f"### {heading}\n"
        if heading.startswith("[["):
            yield f"{'Any number of such sections, or none.' if optional else 'One or more.'}\n"
        elif not optional:
            yield "Needed.\n"
        yield from _table(section)


def _table(section: type) -> Iterator[str]:
    names = {item.name for item in fields(section)}
    opening = [text for text in _sentences(section) if not _mentioned(text) & names]
    if opening:
        yield " ".join(opening) + "\n"
    rows = [
        f"| `{one.name}` | {one.kind} | {one.default} | {_cell(one.purpose)} |"
        for one in settings(section)
    ]
    yield "\n".join(["| setting | type | default | what it is for |", "|---|---|---|---|", *rows])
    yield ""


def _own_docstrings(section: type) -> dict[str, list[str]]:
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    found = {}
    for item, after in pairwise(tree.body if isinstance(tree, ast.ClassDef) else ()):
        if (
            isinstance(item, ast.AnnAssign)
            and isinstance(item.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            found[item.target.id] = [_line(after.value.value)]
    return found


def _sentences(section: type) -> list[str]:
    """Those of the docstring; a dataclass without one has its signature there, which says less."""
    text = section.__doc__ or ""
    if text.startswith(f"{section.__name__}("):
        return []
    return _SENTENCES.split(_line(text)) if text else []


def _about(name: str, sentences: list[str]) -> Iterator[str]:
    for sentence in sentences:
        if name in _mentioned(sentence):
            bare = sentence.removeprefix(f"`{name}`: ")
            yield bare[0].upper() + bare[1:]


def _mentioned(sentence: str) -> set[str]:
    """The names in backquotes; `delay_us = 1` mentions delay_us."""
    return set(re.findall(r"`([a-z][a-z0-9_]*)(?:`| =)", sentence))


def _is_needed(item: Field[Any]) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


def _default(item: Field[Any]) -> str:
    if _is_needed(item):
        return "needed"
    if isinstance(item.default, bool):
        return f"`{str(item.default).lower()}`"
    if not item.default or item.default is MISSING:
        return "—"
    if isinstance(item.default, tuple):
        return f"`{list(item.default)}`"
    return f'`"{item.default}"`' if isinstance(item.default, str) else f"`{item.default}`"


def _line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
