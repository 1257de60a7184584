"""Frameworks: their headings, and which topics answer them (`templates/*.toml`)."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Self

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import fields


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of a framework: `ref` is its number there, `missing` what Sealgate does not cover
    of it.
    """

    ref: str
    title: str
    topics: tuple[str, ...]
    missing: tuple[str, ...]

    @classmethod
    def from_toml(cls, value: object) -> Self:
        outer = dict(fields.mapping(value))
        topics, missing = outer.pop("topics", []), outer.pop("missing", [])
        read = fields.record(outer, ("ref", "title"))
        ref, title = fields.text(read["ref"]), fields.text(read["title"])
        return cls(ref, title, fields.texts(topics), fields.texts(missing))


@dataclass(frozen=True, slots=True)
class Template:
    """A framework. `scope` says what it is about; `language_models`, why it does not apply to
    models that generate text, empty where it does.
    """

    name: str
    title: str
    source: str
    scope: str
    language_models: str
    headings: tuple[Heading, ...]


def template_names() -> list[str]:
    """The templates that there are."""
    found = files("sealgate.dossier") / "templates"
    return sorted(
        each.name.removesuffix(".toml") for each in found.iterdir() if each.name.endswith(".toml")
    )


def template(name: str) -> Template:
    """Raises SealgateError(DOCUMENT_MALFORMED) where there is none of that name."""
    if name not in template_names():
        known = ", ".join(template_names())
        raise SealgateError(Reason.DOCUMENT_MALFORMED, f"no template {name}; there are {known}")
    text = (files("sealgate.dossier") / "templates" / f"{name}.toml").read_text("utf-8")
    return _read(name, tomllib.loads(text))


def _read(name: str, document: Mapping[str, Any]) -> Template:
    outer = dict(document)
    without = fields.text(outer.pop("language_models", ""))
    read = fields.record(outer, ("title", "source", "scope", "headings"))
    headings = tuple(map(Heading.from_toml, fields.items(read["headings"])))
    title, source, scope = (fields.text(read[key]) for key in ("title", "source", "scope"))
    return Template(name, title, source, scope, without, headings)
