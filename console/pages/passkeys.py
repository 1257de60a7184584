"""The person's own passkeys, and the making of a new one."""

import json

from starlette.responses import Response

from console.display.base64url import decode, encode
from console.signing import enrolled, passkeys_of, user_handle
from console.views import View


def passkeys(view: View) -> Response:
    """The person's passkeys, and the making of a new one, for the roots to sign into the policy."""
    made = None
    if view.request.method == "POST":
        made = enrolled(decode(view.form, "authenticator_data"), view.console.origin)
    known = passkeys_of(view.calls.policy, view.calls.person, view.console.origin)
    return view.render(
        "passkeys.html",
        known=known,
        made=made,
        entry=json.dumps({made.keyid: made.to_json()}, indent=2) if made else "",
        host=view.console.host,
        user=user_handle(view.calls.person.name),
        challenge=encode(view.session.csrf.encode()),
    )


ROUTES = [("/passkeys", passkeys, ("GET", "POST"))]
