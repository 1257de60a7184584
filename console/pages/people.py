"""People and policy: who may act, with which keys and passkeys, and why something is allowed."""

import json
from dataclasses import dataclass

from starlette.responses import Response

from console.display.formats import from_base64url, to_base64url
from console.sessions import enrolled, passkeys_of, user_handle
from console.views import View
from sealgate.reasons import Reason, SealgateError
from sealgate.remote.calls import list_all
from sealgate.trust.policy import DEFAULT_ALIAS, Policy, Principal
from sealgate.trust.policy.rights import ACTION_ROLES, ALL, RightsDecision, decide
from sealgate.v1.credential_pb2 import ApiKey, ListApiKeysRequest

_MOST_KEYS = 200


@dataclass(frozen=True, slots=True)
class Explained:
    """A question about a right, and its answer."""

    action: str
    model: str
    alias: str
    decision: RightsDecision


def people(view: View) -> Response:
    return view.render("people.html", policy=view.calls.policy, policies=view.calls.policies)


def person(view: View) -> Response:
    policy = view.calls.policy
    who = policy.principal(view.path("name"))
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
        (action, decide(policy.rights, who.name, who.roles, policy.target(action, ALL, ALL)))
        for action in sorted(ACTION_ROLES)
    ]


def _explained(view: View, policy: Policy, who: Principal) -> Explained | None:
    action = view.query("action")
    if not action:
        return None
    model = view.query("model") or ALL
    usual = DEFAULT_ALIAS if action in ("infer", "metadata") else ALL
    alias = view.query("alias") or usual
    target = policy.target(action, model, alias)
    return Explained(action, model, alias, decide(policy.rights, who.name, who.roles, target))


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
        challenge=to_base64url(view.session.csrf.encode()),
    )


ROUTES = [
    ("/people", people, ("GET",)),
    ("/people/{name}", person, ("GET",)),
    ("/passkeys", passkeys, ("GET", "POST")),
]
