"""Drafts of the next policy on the console's page: what they come to, and what is refused."""

import html
import json
import re

import pytest

from sealgate.setup.people import keep_passkey
from sealgate.trust import canonical
from sealgate.trust.policy import Policy
from tests.support.builders.documents.authenticator import Authenticator
from tests.support.harness.console import csrf_of, text_of


class Drafter:
    """Somebody who collects changes of the policy on the page."""

    def __init__(self, browser):
        self.browser = browser
        self.page = browser.get("/policy/draft").text
        self.csrf = csrf_of(self.page)

    @property
    def draft(self) -> str:
        return html.unescape(re.search(r'name="draft" value="([^"]+)"', self.page)[1])

    def change(self, change, **form):
        form |= {"csrf": self.csrf, "draft": self.draft, "change": change}
        answer = self.browser.post("/policy/draft", data=form)
        if answer.status_code == 200:
            self.page = answer.text
        return answer

    def file(self):
        form = {"csrf": self.csrf, "draft": self.draft}
        return self.browser.post("/policy/draft/file", data=form)


def test_changes_of_the_policy_are_drafted_for_the_roots(console):
    drafter = Drafter(console.signed_in("admin"))
    passkey = Authenticator("dora").passkey
    entry = json.dumps({passkey.keyid: passkey.to_json()})
    drafter.change("add", name="dora", role="approver", identity="mtls:dora")
    drafter.change("passkey", name="dora", passkey=entry)
    drafter.change("remove", name="approver-2")
    drafter.change("approvals", alias="canary", count="2")
    assert "principals.dora" in text_of(drafter.change(""))
    answer = drafter.file()
    assert answer.headers["content-disposition"] == 'attachment; filename="policy-2.json"'
    policy = Policy.decode(canonical.encode(answer.json()))
    assert policy.signing_keys_of("dora") == {passkey.keyid: passkey}
    assert "approver-2" not in {known.name for known in policy.principals}
    assert policy.rules.approvals["canary"] == 2


def test_a_passkey_made_by_a_link_is_listed_as_it_was_shown(console):
    """Two links may be on their way, and the other be followed by somebody else."""
    drafter = Drafter(console.signed_in("admin"))
    shown, other = (Authenticator(name).passkey for name in ("dora", "eve"))
    drafter.change("add", name="dora", role="approver", identity="mtls:dora")
    keep_passkey(console.links, "dora", shown)
    assert f'name="keyid" value="{shown.keyid}"' in drafter.change("").text
    keep_passkey(console.links, "dora", other)
    answer = drafter.change("enrolled", name="dora", keyid=shown.keyid)
    assert (answer.status_code, "has made another passkey" in answer.text) == (400, True)
    drafter.change("enrolled", name="dora", keyid=other.keyid)
    policy = Policy.decode(canonical.encode(drafter.file().json()))
    assert policy.signing_keys_of("dora") == {other.keyid: other}


@pytest.mark.parametrize(
    ("change", "form", "told"),
    [
        ("add", {"name": "admin", "role": "approver"}, "names admin already"),
        ("add", {"name": "Dora", "role": "approver"}, "NAME_MALFORMED"),
        ("add", {"name": "dora", "role": "root"}, "PARAMETER_MALFORMED"),
        ("remove", {"name": "nobody"}, "names no nobody"),
        ("enrolled", {"name": "admin"}, "admin has made no passkey"),
        ("passkey", {"name": "admin", "passkey": "{"}, "not JSON"),
        ("passkey", {"name": "admin", "passkey": "{}"}, "DOCUMENT_MALFORMED"),
        ("approvals", {"alias": "production", "count": "many"}, "PARAMETER_MALFORMED"),
        ("else", {}, "PARAMETER_MALFORMED"),
    ],
)
def test_a_change_that_contradicts_the_policy_is_refused(console, change, form, told):
    answer = Drafter(console.signed_in("admin")).change(change, **form)
    assert told in answer.text
    assert answer.status_code == 400
