"""The thread that keeps engines in step with the registry outlives every failure."""

import logging
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.sync import RegistrySync
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy.promotion_rules import ReviewRules, RiskTiers
from tests.support.builders.documents.people import PromotionDocuments, make_policy, refused


class Registry:
    """Renews statements, and has nothing else to say."""

    renewed = 0
    policies = SimpleNamespace(
        chain=lambda: SimpleNamespace(newest=SimpleNamespace(expires="2999-01-01T00:00:00Z"))
    )

    def changes(self) -> Any:
        return SimpleNamespace()

    def refresh(self) -> None:
        self.renewed += 1

    def change_token(self) -> object:
        raise SealgateError(Reason.REGISTRY_UNAVAILABLE)


def store(registry: Registry) -> Any:
    """Return a gateway's store: this registry, and an answer log without entries."""
    return SimpleNamespace(
        registry=registry,
        answers=SimpleNamespace(size=0),
        remember=lambda: None,
        follow_keys=list,
    )


class BrokenEngines:
    """An engine that is asked whether it is there, and answers what nobody expected."""

    behind = False

    def probe(self) -> None:
        raise RuntimeError("what nobody expected")


def test_statements_are_renewed_whatever_an_engine_answers() -> None:
    registry = Registry()
    engine: Any = SimpleNamespace(expired="", policy=None)
    engines: Any = BrokenEngines()
    watch = RegistrySync(store(registry), engine, Counter(), 60.0, engines)
    with refused(Reason.REGISTRY_UNAVAILABLE):
        watch.start()
    assert registry.renewed == 1


def test_a_live_version_whose_approvals_end_soon_is_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    policy = make_policy(
        risk=RiskTiers({"digits": "high"}, {}), review=ReviewRules({"high": 3}, {})
    )
    bundle = PromotionDocuments(policy).promotion()
    lives = {("digits", "production"): SimpleNamespace(bundle=bundle)}
    engine: Any = SimpleNamespace(expired="", policy=policy, live=lambda: lives)
    engines: Any = BrokenEngines()
    watch = RegistrySync(store(Registry()), engine, Counter(), 60.0, engines)
    with caplog.at_level(logging.WARNING):
        watch.upkeep()
    assert "digits/production: approvals count until" in caplog.text
