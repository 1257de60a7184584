"""Signing with a passkey: the statement as a page shows it, and its signature."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.responses import RedirectResponse, Response

from console.display.formats import from_base64url
from console.reading.proposals import proposal_of
from console.reading.versions import newest_pointer
from console.sessions import passkeys_of, signed_envelope
from console.views import View
from sealgate.promotion.drafts import StatementDraft, StatementDrafter, send_statement
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import check_digest, sha256
from sealgate.trust.fields import base64url, check_name
from sealgate.trust.keys.webauthn import Assertion
from sealgate.trust.statements import Approval, Comment, Pointer, Proposal, Rejection
from sealgate.trust.statements.base import Statement


@dataclass(frozen=True, slots=True)
class SigningAction:
    """An action that is signed: how a page calls it, its draft, and where it leads.

    `confirmed` says that its author must type the model's name.
    """

    title: str
    draft: Callable[[StatementDrafter, dict[str, str]], StatementDraft]
    target: Callable[[dict[str, str]], str]
    confirmed: bool = False


def _proposal_page(form: dict[str, str]) -> str:
    return f"/proposals/{check_digest(form.get('proposal', ''))}"


def _live_page(form: dict[str, str]) -> str:
    model, alias = check_name(form.get("model", "")), check_name(form.get("alias", ""))
    return f"/models/{model}/aliases/{alias}/live"


def _version_page(form: dict[str, str]) -> str:
    return f"/models/{check_name(form.get('model', ''))}/versions/{_version(form)}"


def _version(form: dict[str, str]) -> int:
    text = form.get("version", "")
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 10):
        raise SealgateError(Reason.PARAMETER_MALFORMED, "version")
    return int(text)


def _words(form: dict[str, str]) -> str:
    return form.get("words", "")


ACTIONS = {
    "approve": SigningAction(
        "Approve", lambda d, f: d.approve(f["proposal"], _words(f)), _proposal_page
    ),
    "reject": SigningAction(
        "Reject", lambda d, f: d.reject(f["proposal"], _words(f)), _proposal_page
    ),
    "comment": SigningAction(
        "Comment", lambda d, f: d.comment(f["proposal"], _words(f)), _proposal_page
    ),
    "promote": SigningAction(
        "Promote",
        lambda d, f: d.promote(check_digest(f.get("proposal", "")), _words(f)),
        _live_page,
        confirmed=True,
    ),
    "rollback": SigningAction(
        "Roll back",
        lambda d, f: d.rollback(f["model"], f["alias"], _version(f), _words(f)),
        _live_page,
        confirmed=True,
    ),
    "revoke": SigningAction(
        "Revoke",
        lambda d, f: d.revoke(f["model"], _version(f), _words(f)),
        _version_page,
        confirmed=True,
    ),
}


def prepare(view: View) -> Response:
    """Draft a statement and show it with its digest, before anything is signed."""
    form, calls = view.form, view.calls
    action = ACTIONS.get(form.get("action", ""))
    if action is None:
        raise SealgateError(Reason.PARAMETER_MALFORMED, "action")
    target = action.target(form)
    drafter = StatementDrafter(
        calls.registry, calls.person.name, lambda: calls.policy, view.console.clock
    )
    draft = action.draft(drafter, form)
    confirm = check_name(form.get("model", "")) if action.confirmed else ""
    if isinstance(draft.statement, Pointer):
        # The statement names the model that is moved, whatever the form says.
        confirm = draft.statement.model
        target = f"/models/{confirm}/aliases/{draft.statement.alias}/live"
    number = view.console.pending.add(view.session.handle, draft, target, confirm)
    return view.render("sign.html", **_shown(view, action, number, draft, confirm))


def _shown(
    view: View, action: SigningAction, number: str, draft: StatementDraft, confirm: str
) -> dict[str, Any]:
    statement = draft.statement
    pending = view.console.pending.get(view.session.handle, number)
    passkeys = passkeys_of(view.calls.policy, view.calls.person, view.console.origin)
    live = None
    about = _about(view, statement)
    moved = about or statement
    if isinstance(moved, Pointer | Proposal):
        live = newest_pointer(view.calls, moved.model, moved.alias)
    return {
        "title": action.title,
        "number": number,
        "statement": json.loads(statement.encode()),
        "digest": sha256(statement.encode()),
        "challenge": base64url(pending.challenge),
        "credentials": " ".join(base64url(key.credential) for key in passkeys.values()),
        "host": next((key.rp_id for key in passkeys.values()), ""),
        "confirm": confirm,
        "target": pending.target,
        "about": about,
        "moves": moved if isinstance(moved, Pointer | Proposal) else None,
        "live": live,
    }


def _about(view: View, statement: Statement) -> Proposal | None:
    """The proposal that a statement is about, if it is about one, as its proposer signed it."""
    if not isinstance(statement, Approval | Rejection | Comment):
        return None
    return proposal_of(view.calls, statement.proposal).proposal


def sign(view: View) -> Response:
    """Send a statement with the signature that the browser brings.

    1. It waits in this session.
    2. The model's name was typed, where that is asked for.
    3. A passkey of the person's has signed this very statement.
    4. It is sent once.
    """
    # 1.
    number = view.path("number")
    pending = view.console.pending.get(view.session.handle, number)
    # 2.
    if pending.confirm and view.form.get("confirm") != pending.confirm:
        raise SealgateError(Reason.PARAMETER_MALFORMED, f"type {pending.confirm} to confirm")
    # 3.
    given = Assertion(
        *(
            from_base64url(view.form, name)
            for name in ("authenticator_data", "client_data", "signature")
        )
    )
    passkeys = passkeys_of(view.calls.policy, view.calls.person, view.console.origin)
    envelope = signed_envelope(pending, passkeys, from_base64url(view.form, "credential"), given)
    # 4.
    if not view.console.pending.take(number):
        raise SealgateError(Reason.PARAMETER_MALFORMED, "the statement was signed already")
    send_statement(view.calls.registry, pending.draft, envelope)
    return RedirectResponse(pending.target, 303)


ROUTES = [
    ("/sign", prepare, ("POST",)),
    ("/sign/{number}", sign, ("POST",)),
]
