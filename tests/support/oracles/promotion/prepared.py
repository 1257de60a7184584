"""States in which a run may begin, each made once a process through the real registry."""

import sqlite3
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from safetensors.numpy import save

from tests.support.builders.documents.people import NOW
from tests.support.harness.registry import onnx_bytes
from tests.support.oracles.promotion.documents import Documents, Published
from tests.support.oracles.promotion.organisation import Organisation
from tests.support.oracles.promotion.rulebook import Rulebook


def files(name: str) -> dict[str, bytes]:
    """A version's files, of the accepted formats; nothing ever runs them."""
    graph = onnx_bytes(name)
    return {
        "model.json": b'{"name":"%s"}' % name.encode(),
        "model.int8.onnx": graph,
        "model.fp32.onnx": graph,
        "response.onnx": graph,
        "detector.json": b"{}",
        "golden.safetensors": save({"x": np.zeros((1, 4), np.float32)}),
    }


@dataclass(frozen=True, slots=True)
class Prepared:
    """A database and what its people have signed so far."""

    database: sqlite3.Connection
    now: datetime
    documents: Documents
    rulebook: Rulebook


def prepare(organisation: Organisation) -> tuple[Prepared, ...]:
    """Three versions of a model and two of another, one of them of the same bytes; then the first
    of each in production; then a second promotion, with the first version as canary; then proposals
    that wait, with two approvals and with one.
    """
    organisation.begin(NOW, Documents(), Rulebook())
    organisation.accept(Rulebook())
    for model in ("digits", "letters"):
        organisation.registry.models.create("paula", model)
    for name in ("one", "two", "three"):
        organisation.publish("digits", files(name))
    for name in ("four", "one"):
        organisation.publish("letters", files(name))
    states = [_kept(organisation)]
    one, two, three, letters, _ = organisation.documents.published.values()
    for version in (one, letters):
        _release(organisation, version, "production", "otto")
    states.append(_kept(organisation))
    _release(organisation, two, "production", "olga")
    _release(organisation, one, "canary", "olga")
    states.append(_kept(organisation))
    _approved(organisation, three, "production", "anna")
    _approved(organisation, two, "production", "anna", "abel")
    states.append(_kept(organisation))
    return tuple(states)


def _release(organisation: Organisation, version: Published, alias: str, admin: str) -> None:
    proposal = _approved(organisation, version, alias, "anna", "arne")
    organisation.promote(proposal, organisation.documents.approvals(proposal), admin)


def _approved(organisation: Organisation, version: Published, alias: str, *approvers: str) -> str:
    proposal = organisation.propose(version, alias, 0, "paula")
    for name in approvers:
        organisation.approve(proposal, name, name, "I have read it.")
    return proposal


def _kept(organisation: Organisation) -> Prepared:
    copy = sqlite3.connect(":memory:")
    organisation.sql.backup(copy)
    return Prepared(copy, organisation.now, organisation.documents.copy(), organisation.rulebook)
