"""Pages about people and policy: who may act, with which keys and rights, and policy drafts.

The roots sign a draft elsewhere. The console keeps no draft: each form carries it. Only the
resulting file counts, which the roots read and sign at their own machines.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from starlette.responses import Response

from console.display.formats import from_base64url
from console.sessions import enrolled, passkeys_of, user_handle
from console.views import View, plain
from sealgate.promotion.drafts import (
    Document,
    add_passkey,
    add_person,
    checked,
    remove_person,
    successor_of,
)
from sealgate.reasons import Reason, SealgateError
from sealgate.remote.calls import list_all
from sealgate.setup.credentials import ISSUER
from sealgate.setup.people import ROLES, kept_passkey, kept_passkeys
from sealgate.trust.fields import base64url
from sealgate.trust.keys.webauthn import Passkey
from sealgate.trust.policy import (
    ACTION_ROLES,
    DEFAULT_ALIAS,
    WILDCARD,
    Policy,
    Principal,
    RightsDecision,
    check_next_version,
    decide_rights,
    policy_changes,
)
from sealgate.v1.credential_pb2 import ApiKey, ListApiKeysRequest

_MOST_KEYS = 200
_LIFETIME = timedelta(days=365)
_MOST_APPROVALS = 20

Form = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ExplainedRight:
    """A question about a right, and its answer."""

    action: str
    model: str
    alias: str
    decision: RightsDecision


def people(view: View) -> Response:
    return view.render("people.html", policy=view.calls.policy, policies=view.calls.policies)


def person(view: View) -> Response:
    policy, name = view.calls.policy, view.path("name")
    who = next((each for each in policy.principals if each.name == name), None)
    if who is None:
        unknown = Reason.PRINCIPAL_UNKNOWN
        # Raised, it would be said of the reader, and end their session.
        return plain(view.console, 404, unknown.sentence, "", unknown.name, signed_in=True)
    return view.render(
        "person.html",
        who=who,
        policy=policy,
        rights=_rights(policy, who),
        actions=sorted(ACTION_ROLES),
        explained=_explained(view, policy, who),
        api_keys=_api_keys(view, who),
    )


def _rights(policy: Policy, who: Principal) -> list[tuple[str, RightsDecision]]:
    """For every action on every model, whether the person may."""
    return [
        (
            action,
            decide_rights(
                policy.rights, who.name, who.roles, policy.target(action, WILDCARD, WILDCARD)
            ),
        )
        for action in sorted(ACTION_ROLES)
    ]


def _explained(view: View, policy: Policy, who: Principal) -> ExplainedRight | None:
    action = view.query("action")
    if not action:
        return None
    model = view.query("model") or WILDCARD
    usual = DEFAULT_ALIAS if action in ("infer", "metadata") else WILDCARD
    alias = view.query("alias") or usual
    target = policy.target(action, model, alias)
    return ExplainedRight(
        action, model, alias, decide_rights(policy.rights, who.name, who.roles, target)
    )


def _api_keys(view: View, who: Principal) -> list[ApiKey]:
    """The person's API keys; none for readers who may not see them."""
    if not {"admin", "auditor"} & set(view.calls.person.roles):
        return []
    request = ListApiKeysRequest(filter=f"holder = {who.name}")

    def ask(request: ListApiKeysRequest) -> object:
        return view.calls.ask(view.calls.credentials.ListApiKeys, request)

    try:
        return list(list_all(ask, request, "api_keys", _MOST_KEYS))
    except SealgateError as refusal:
        if refusal.reason is Reason.RULE_MISSING:
            return []
        raise


def passkeys(view: View) -> Response:
    """The person's passkeys, and the making of a new one, for the roots to sign into the policy."""
    made = None
    if view.request.method == "POST":
        made = enrolled(from_base64url(view.form, "authenticator_data"), view.console.origin)
    known = passkeys_of(view.calls.policy, view.calls.person, view.console.origin)
    return view.render(
        "passkeys.html",
        known=known,
        made=made,
        entry=json.dumps({made.keyid: made.to_json()}, indent=2) if made else "",
        host=view.console.host,
        user=user_handle(view.calls.person.name),
        challenge=base64url(view.session.csrf.encode()),
    )


def _add(view: View, document: Document, form: Form) -> None:
    name, role = form.get("name", ""), form.get("role", "")
    if role not in ROLES:
        raise SealgateError(Reason.PARAMETER_MALFORMED, "role")
    identity = form.get("identity", "") or f"jwt:{ISSUER} {name}"
    add_person(document, name, [role], identity)


def _remove(view: View, document: Document, form: Form) -> None:
    remove_person(document, form.get("name", ""))


def _enrolled(view: View, document: Document, form: Form) -> None:
    """The passkey that a person made through an enrolment link, which the page has shown: a second
    link may have led somebody else to another one meanwhile.
    """
    name = form.get("name", "")
    folder = view.console.links
    if folder is None or not (file := kept_passkey(folder, name)).exists():
        raise SealgateError(Reason.PARAMETER_MALFORMED, f"{name} has made no passkey")
    passkey = Passkey.from_json(json.loads(file.read_bytes()))
    if passkey.keyid != form.get("keyid", ""):
        raise SealgateError(Reason.PARAMETER_MALFORMED, f"{name} has made another passkey")
    add_passkey(document, name, passkey)


def _passkey(view: View, document: Document, form: Form) -> None:
    """A passkey as the page of one's passkeys shows it."""
    try:
        said = json.loads(form.get("passkey", ""))
    except (ValueError, RecursionError):
        raise SealgateError(Reason.PARAMETER_MALFORMED, "the passkey is not JSON") from None
    if isinstance(said, dict) and len(said) == 1:
        said = next(iter(said.values()))
    add_passkey(document, form.get("name", ""), Passkey.from_json(said))


def _approvals(view: View, document: Document, form: Form) -> None:
    alias, text = form.get("alias", ""), form.get("count", "")
    rules = document["promotion"]["approvals"]
    if alias not in rules or not (text.isascii() and text.isdigit() and len(text) < 3):
        raise SealgateError(Reason.PARAMETER_MALFORMED, "approvals")
    rules[alias] = min(int(text), _MOST_APPROVALS)


CHANGES: Mapping[str, Callable[[View, Document, Form], None]] = {
    "add": _add,
    "remove": _remove,
    "enrolled": _enrolled,
    "passkey": _passkey,
    "approvals": _approvals,
}


def draft(view: View) -> Response:
    """The draft that the form carries, with the change that it asks for."""
    document = _carried(view)
    change = view.form.get("change", "")
    if change:
        if change not in CHANGES:
            raise SealgateError(Reason.PARAMETER_MALFORMED, "change")
        CHANGES[change](view, document, view.form)
    successor = checked(document)
    policy = view.calls.policy
    check_next_version(policy, successor)
    names = {known.name for known in successor.principals}
    listed = {keyid for known in successor.principals for keyid in known.keys}
    enrolments = kept_passkeys(view.console.links) if "admin" in view.calls.person.roles else {}
    waiting = {n: k for n, k in enrolments.items() if n in names and k.keyid not in listed}
    return view.render(
        "policy_draft.html",
        policy=successor,
        changes=[
            change for change in policy_changes(policy, successor) if change.path not in _USUAL
        ],
        draft=json.dumps(document),
        roles=ROLES,
        approvals=document["promotion"]["approvals"],
        enrolments=waiting,
    )


_USUAL = ("version", "issued", "expires")


def file(view: View) -> Response:
    """The draft as the file that roots sign."""
    document = _carried(view)
    version = checked(document).version
    return Response(
        json.dumps(document, indent=2) + "\n",
        media_type="application/json",
        headers={"content-disposition": f'attachment; filename="policy-{version}.json"'},
    )


def _carried(view: View) -> Document:
    """The draft in the form, or a new one. Raises SealgateError(PARAMETER_MALFORMED)."""
    text = view.form.get("draft", "")
    if not text:
        return successor_of(view.calls.policy, view.now, _LIFETIME)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise SealgateError(Reason.PARAMETER_MALFORMED, "the draft is not JSON") from None
    if not isinstance(found, dict):
        raise SealgateError(Reason.PARAMETER_MALFORMED, "the draft is no policy")
    checked(found)
    return found


ROUTES = [
    ("/people", people, ("GET",)),
    ("/people/{name}", person, ("GET",)),
    ("/passkeys", passkeys, ("GET", "POST")),
    ("/policy/draft", draft, ("GET", "POST")),
    ("/policy/draft/file", file, ("POST",)),
]
