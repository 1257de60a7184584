"""A dossier: a model's history, ordered by the headings of a framework (`templates/*.toml`)."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Self

from sealgate.dossier.record import DossierClaim, ModelHistory, not_covered
from sealgate.dossier.topics import TOPICS
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import fields
from sealgate.trust.fields import check_name
from sealgate.trust.times import parse_time

# Tasks of `generation/models/architectures.py`, in bills of materials.
_GENERATING = ("text-generation", "text2text-generation")
_NAMES = ("model", "version", "template", "title", "source", "scope", "time", "log", "size")


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


@dataclass(frozen=True, slots=True)
class Section:
    """The claims under one heading."""

    ref: str
    title: str
    claims: tuple[DossierClaim, ...]

    def to_json(self) -> dict[str, Any]:
        claims = [each.to_json() for each in self.claims]
        return {"ref": self.ref, "title": self.title, "claims": claims}

    @classmethod
    def from_json(cls, value: object) -> Self:
        outer = fields.record(value, ("ref", "title", "claims"))
        claims = tuple(map(DossierClaim.from_json, fields.items(outer["claims"])))
        return cls(fields.text(outer["ref"]), fields.text(outer["title"]), claims)


@dataclass(frozen=True, slots=True)
class Dossier:
    """The claims about `model` at `time`, from the first `size` entries of the registry's log
    `log`. `version` is the one that is described, 0 if there is none.
    """

    model: str
    version: int
    template: str
    title: str
    source: str
    scope: str
    time: str
    log: str
    size: int
    sections: tuple[Section, ...]

    @property
    def claims(self) -> tuple[DossierClaim, ...]:
        return tuple(claim for section in self.sections for claim in section.claims)

    def to_json(self) -> dict[str, Any]:
        told = {name: getattr(self, name) for name in _NAMES}
        return told | {"sections": [each.to_json() for each in self.sections]}

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Raises SealgateError(DOCUMENT_MALFORMED) or NAME_MALFORMED."""
        outer = fields.record(value, (*_NAMES, "sections"))
        check_name(fields.text(outer["model"]))
        parse_time(fields.text(outer["time"]))
        checks: dict[str, Any] = dict.fromkeys(_NAMES, fields.text)
        checks |= {"version": fields.integer, "size": fields.integer}
        told: dict[str, Any] = {name: checks[name](outer[name]) for name in _NAMES}
        sections = tuple(map(Section.from_json, fields.items(outer["sections"])))
        return cls(**told, sections=sections)


def build(record: ModelHistory, template: Template, time: str, log: str) -> Dossier:
    """The dossier of a record. `time` is that of its making, `log` the registry log's origin."""
    subject = record.subject()
    if template.language_models and _generates(record):
        claims = (not_covered(template.language_models),)
        sections: tuple[Section, ...] = (Section("Scope", "Not applicable", claims),)
    else:
        sections = tuple(_section(record, heading, time) for heading in template.headings)
    return Dossier(
        record.model,
        subject.number if subject else 0,
        template.name,
        template.title,
        template.source,
        template.scope,
        time,
        log,
        record.size,
        sections,
    )


def _section(record: ModelHistory, heading: Heading, time: str) -> Section:
    found = [claim for topic in heading.topics for claim in TOPICS[topic](record, time)]
    missing = map(not_covered, heading.missing)
    return Section(heading.ref, heading.title, (*found, *missing))


def _generates(record: ModelHistory) -> bool:
    """Whether the described version is a language model, by its bill of materials."""
    subject = record.subject()
    item = subject.item("mlbom") if subject else None
    if item is None:
        return False
    try:
        task = item.statement.body["metadata"]["component"]["modelCard"]["modelParameters"]["task"]
    except (KeyError, TypeError):
        return False
    return str(task) in _GENERATING
