"""A classifier of texts that guards a language model, by the policy: a version beside a version."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from tests.support import text_models
from tests.support.generated import asked, stream
from tests.support.generator_house import GeneratorHouse, generating
from tests.support.kitchen import until
from tests.support.succession import change
from tests.support.text_models import TELLING

OFFER = " ".join(TELLING[1][:6])
WORK = " ".join(TELLING[0][:6])
GUARD = {"label": "offer", "action": "block"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[GeneratorHouse]:
    with generating(tmp_path_factory.mktemp("state"), folder) as house:
        text_models.publish(house)
        yield house


def guarded(house: GeneratorHouse, **said: Any) -> None:
    """Has the policy name the classifier that is in production, or what is `said`."""
    version = house.gateway.engine.live()["letters", "production"].digest
    screen = {"verdicts": {"adversarial": "flag"}, "guard": {"version": version, **GUARD, **said}}
    change(house, lambda policy: policy.update(screens={"tiny": screen}))


def ask(house: GeneratorHouse, text: str) -> oip.ModelStreamInferResponse:
    return stream(house, asked(text, max_tokens=2))[-1]


def test_what_the_guard_finds_is_refused_and_recorded(house: GeneratorHouse) -> None:
    guarded(house)
    assert not ask(house, WORK).error_message
    start = house.gateway.recorder.size
    assert ask(house, OFFER).error_message.startswith(Reason.PROMPT_INJECTION.name)
    (entry,) = house.entries(start)
    assert entry["outcome"] == Reason.PROMPT_INJECTION.name
    assert entry["verdict"] in ("suspect", "adversarial")
    assert entry["policy_digest"] == house.gateway.policy().digest


def test_it_is_found_behind_much_that_is_clean(house: GeneratorHouse) -> None:
    guarded(house)
    # More than the thirty tokens that the classifier reads at once.
    assert not ask(house, "meet ba ba " * 12).error_message
    found = ask(house, "meet ba ba " * 9 + OFFER).error_message
    assert found.startswith(Reason.PROMPT_INJECTION.name)


def test_a_guard_that_only_flags_lets_it_pass_as_suspect(house: GeneratorHouse) -> None:
    guarded(house, action="flag")
    start = house.gateway.recorder.size
    assert not ask(house, OFFER).error_message
    assert {entry["verdict"] for entry in house.entries(start)} <= {"suspect", "adversarial"}


@pytest.mark.parametrize(
    "said", [{"version": "sha256:" + "0" * 64}, {"label": "nonsense"}], ids=["version", "label"]
)
def test_without_its_guard_nothing_is_answered(house: GeneratorHouse, said: Any) -> None:
    guarded(house, **said)
    assert ask(house, WORK).error_message.startswith(Reason.VERSION_NOT_LIVE.name)


def test_a_revoked_guard_guards_no_more(house: GeneratorHouse) -> None:
    guarded(house)
    house.governance("admin").revoke("letters", 1, "test")
    until(lambda: ask(house, WORK).error_message != "")
    reason = ask(house, WORK).error_message.partition(":")[0]
    assert reason in (Reason.VERSION_NOT_LIVE.name, Reason.VERSION_REVOKED.name)
