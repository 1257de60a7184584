"""A dossier with little evidence."""

from dataclasses import dataclass
from typing import Any

import pytest

from sealgate.audit.entries import ProvedEntry
from sealgate.dossier import NOT_COVERED, Dossier, build, template, template_names
from sealgate.dossier.record import ModelHistory, RecordedStatement, RegisteredVersion
from sealgate.reasons import Reason
from sealgate.trust.statements import Manifest
from tests.support.builders.documents.people import make_policy, refused

TIME = "2026-11-29T12:00:00Z"


def entry(event: str, subject: str, **body: Any) -> ProvedEntry:
    return ProvedEntry(0, event, TIME, "paula", subject, body, {})


@dataclass
class Item:
    """Evidence of a kind."""

    kind: str
    body: Any


def record(*items: Item) -> ModelHistory:
    """A model with one version, which has these items of evidence."""
    told = ModelHistory("writer", (make_policy(),), size=3)
    told.policy_entries.append(entry("policy.accepted", "policies/1", envelope="sha256:1"))
    told.created = entry("model.created", "models/writer")
    manifest = Manifest.of({"model.json": b"{}"})
    registered = entry("version.registered", "models/writer/versions/1", manifest="sha256:2")
    said = tuple(RecordedStatement(registered, item, "sha256:3") for item in items)
    told.versions[1] = RegisteredVersion(1, registered, manifest, said)
    return told


def bom(task: str) -> Item:
    card = {"modelParameters": {"task": task}}
    return Item("mlbom", {"metadata": {"component": {"modelCard": card}}})


@pytest.mark.parametrize("name", template_names())
def test_without_evidence_every_heading_says_what_is_missing(name: str) -> None:
    made = build(record(), template(name), TIME, "example.org/registry")
    assert all(section.claims for section in made.sections)
    assert any(claim.text.startswith(NOT_COVERED) for claim in made.claims)
    assert Dossier.from_json(made.to_json()) == made


@pytest.mark.parametrize("task", ["text-generation", "text2text-generation"])
def test_sr_26_2_leaves_models_out_that_generate_text(task: str) -> None:
    made = build(record(bom(task)), template("sr-26-2"), TIME, "example.org/registry")
    (claim,) = made.claims
    assert "leaves generative and agentic AI out" in claim.text
    other = build(record(bom("classification")), template("sr-26-2"), TIME, "example.org/registry")
    assert len(other.sections) == len(template("sr-26-2").headings)


@pytest.mark.parametrize("body", [{}, [], {"metadata": 1}, {"attacks": {"fgsm": 1}}])
def test_evidence_of_another_form_proves_nothing(body: Any) -> None:
    kinds = ("mlbom", "build-provenance", "golden-run", "screening-report", "watermark-check")
    told = record(*(Item(kind, body) for kind in kinds))
    made = build(told, template("annex-iv"), TIME, "example.org/registry")
    assert not any(
        cited.document == "sha256:3" for claim in made.claims for cited in claim.citations
    )


def test_a_template_that_is_not_there_is_refused() -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        template("../annex-iv")


def test_what_nobody_wrote_is_no_dossier() -> None:
    made = build(record(), template("annex-iv"), TIME, "example.org/registry").to_json()
    for name, value in (("size", -1), ("time", "today"), ("sections", 1), ("model", "<b>")):
        with pytest.raises(Exception, match="MALFORMED"):
            Dossier.from_json(made | {name: value})
