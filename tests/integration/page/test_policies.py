"""The page and open_policy_chain say the same of policies, even of those that root keys signed."""

import json
from datetime import UTC, datetime

import pytest

from sealgate.reasons import SealgateError
from sealgate.trust import canonical, dsse
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy, PolicyRoot, open_policy_chain
from sealgate.trust.transparency import note
from tests.support.builders.documents.people import ANSWER_LOG, REGISTRY_LOG, key, sign_policy
from tests.support.builders.documents.receipts import ROOT_PEMS, policy_in_force, receipt

ROOTS = {k.public.keyid: k.public for k in (key(f"root-{number}") for number in range(3))}
NEW_ROOT = ("anna", "arne")
_CHECK = """
const [policies, rootKeys, text, done] = arguments;
checkReceipt({ policies, rootKeys, threshold: 2 }, text, new Date()).then((result) => done(
  result.steps.filter((step) => step.id.startsWith("policy"))
    .every((step) => step.state === "holds")));
"""


def holds(page, file, *policies: str) -> bool:
    """Return the page's verdict on a chain, which must equal that of open_policy_chain."""
    page.open(file)
    found = page.driver.execute_async_script(_CHECK, policies, ROOT_PEMS, receipt())
    assert found == accepted(policies)
    return found


def accepted(policies) -> bool:
    try:
        chain = [Envelope.decode(text.encode("utf-8")) for text in policies]
        open_policy_chain(chain, ROOTS, 2, datetime.now(UTC))
    except SealgateError:
        return False
    return True


def signed(*signers: str, **changes) -> str:
    return sign_policy(policy_in_force(**changes), *signers).encode().decode()


def rewritten(change) -> str:
    """A policy whose JSON two root keys have signed after a change."""
    value = json.loads(policy_in_force().encode())
    change(value)
    payload = canonical.encode(value)
    return dsse.sign(Policy.PAYLOAD_TYPE, payload, key("root-0"), key("root-1")).encode().decode()


def new_root() -> PolicyRoot:
    return PolicyRoot(tuple(key(name).public.keyid for name in NEW_ROOT), 2)


def test_a_policy_is_signed_by_its_own_root_too(page, carrying):
    both = ("root-0", "root-1", *NEW_ROOT)
    assert holds(page, carrying, signed(*both, root=new_root()))
    assert not holds(page, carrying, signed("root-0", "root-1", root=new_root()))
    assert not holds(page, carrying, signed("root-0", "root-1", "anna", root=new_root()))


def test_a_new_root_is_handed_over_by_the_old_one(page, carrying):
    first = signed()
    both = ("root-0", "root-1", *NEW_ROOT)
    assert holds(page, carrying, first, signed(*both, version=2, root=new_root()))
    assert not holds(page, carrying, first, signed(*NEW_ROOT, version=2, root=new_root()))
    old_alone = signed("root-0", "root-1", version=2, root=new_root())
    assert not holds(page, carrying, first, old_alone)


def test_one_signature_twice_is_one_signature(page, carrying):
    def repeated(times: int) -> str:
        value = json.loads(signed("root-0"))
        value["signatures"] *= times
        return canonical.encode(value).decode()

    assert not holds(page, carrying, repeated(1))
    assert not holds(page, carrying, repeated(2))


def wrong_key(value):
    """Under the id of a root key that need not sign."""
    first, _, third = value["root"]["keys"]
    value["keys"][third] = value["keys"][first]


def unlisted_key(value):
    del value["keys"][value["root"]["keys"][2]]


def threshold_of_none(value):
    value["root"]["threshold"] = 0


def threshold_above_all(value):
    value["root"]["threshold"] = 4


def key_twice(value):
    value["root"]["keys"] *= 2


def wrong_hint(value):
    name, _, data = value["logs"]["answers"][0].split("+", 2)
    value["logs"]["answers"] = [f"{name}+00000000+{data}"]


def other_kind_of_log_key(value):
    value["logs"]["answers"] = [f"{ANSWER_LOG}+00000000+AgID"]


def two_logs_of_one_name(value):
    value["logs"]["answers"].append(note.vkey(ANSWER_LOG, key("other").public))


def an_answer_log_that_is_the_registrys(value):
    value["logs"]["answers"].append(note.vkey(REGISTRY_LOG, key("other").public))


def expired_when_issued(value):
    value["issued"] = value["expires"].replace("20", "21", 1)


def time_in_another_form(value):
    value["expires"] = value["expires"].replace("Z", "+00:00")


def day_that_does_not_exist(value):
    value["expires"] = "2999-02-30T00:00:00Z"


def grace_of_no_time(value):
    value["grace"] = {"seconds": 0}


def grace_of_more_than_a_month(value):
    value["grace"] = {"seconds": 30 * 86400 + 1}


def version_zero(value):
    value["version"] = 0


def another_type(value):
    value["type"] = "sealgate/policy/v2"


@pytest.mark.parametrize(
    "change",
    [
        wrong_key,
        unlisted_key,
        threshold_of_none,
        threshold_above_all,
        key_twice,
        wrong_hint,
        other_kind_of_log_key,
        two_logs_of_one_name,
        an_answer_log_that_is_the_registrys,
        expired_when_issued,
        time_in_another_form,
        day_that_does_not_exist,
        grace_of_no_time,
        grace_of_more_than_a_month,
        version_zero,
        another_type,
    ],
)
def test_a_policy_that_contradicts_itself_is_refused_by_both(page, carrying, change):
    assert holds(page, carrying, rewritten(lambda value: None))
    assert not holds(page, carrying, rewritten(change))
