"""A new policy decides as soon as it is in force, before what is live is looked at anew. Answers in
between named the policy before, by which nobody could tell why they left as they did.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from sealgate.client.connection import connect, options_of
from tests.support.house import House, rows, running
from tests.support.succession import change


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running(tmp_path_factory.mktemp("house") / "state", "digits-1") as house:
        house.promote("digits", 1)
        yield house


def test_an_answer_names_the_policy_by_which_it_left(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, profile = house.gateway, house.profile("client")
    assert gateway is not None
    before = gateway.engine.live()["digits", "production"]
    labels = {"roles": {"client": {"labels_only": True}}}
    change(house, lambda policy: policy.update(screens={"digits": labels}))
    assert before.policy != gateway.policy().digest
    # As between the two: what is live is still that of the policy before.
    monkeypatch.setattr(gateway.engine, "resolve", lambda *asked: replace(before))
    with connect(profile.endpoint, **options_of(profile)) as client:
        answer = client.infer("digits", {"x": rows()})
    assert set(answer.outputs) == {"label"}
    assert answer.receipt.fields["policy_digest"] == gateway.policy().digest
