"""What `benchmarks.console` measures of signing: from an approval by passkey to a live version.

The passkeys are software; all else is what people use: the console's pages by HTTP, its gateway,
and the registry and engine behind it.
"""

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from console.display.formats import from_base64url, to_base64url
from demo.stage import Stage
from tests.support.builders.documents.authenticator import Authenticator

SIGNERS = ("approver-1", "approver-2", "admin")


@dataclass(frozen=True)
class SigningPerson:
    """A person with a session and a passkey."""

    browser: httpx2.Client
    key: Authenticator
    csrf: str

    def sign(self, action: str, **form: str) -> str:
        """Prepare a statement, sign it, send it; return where the page leads then."""
        asked = {"csrf": self.csrf, "action": action, "words": "measured", **form}
        page = self.browser.post("/sign", data=asked).raise_for_status().text
        challenge = from_base64url(
            {"challenge": _found(r'data-challenge="([^"]+)"', page)}, "challenge"
        )
        given = self.key.answer(challenge)
        sent = {
            "csrf": self.csrf,
            "confirm": form.get("model", ""),
            "credential": to_base64url(self.key.passkey.credential),
            "authenticator_data": to_base64url(given.authenticator_data),
            "client_data": to_base64url(given.client_data),
            "signature": to_base64url(given.signature),
        }
        answer = self.browser.post(_found(r'action="(/sign/[^"]+)"', page), data=sent)
        if answer.status_code != 303:
            raise SystemExit(f"{action}: {answer.text}")
        return str(answer.headers["location"])


def _found(pattern: str, page: str) -> str:
    found = re.search(pattern, page)
    if found is None:
        raise SystemExit(f"the page has no {pattern}")
    return found[1]


def signed_in(stage: Stage, person: str) -> httpx2.Client:
    """A browser with a session of the person."""
    link = str(stage.command("console", "link", person)).strip()
    origin = link.partition("/links/")[0]
    browser = httpx2.Client(base_url=origin, headers={"Origin": origin}, timeout=600)
    cookie = browser.post(link).raise_for_status().headers["set-cookie"]
    browser.headers["cookie"] = cookie.partition(";")[0]
    browser.cookies.clear()
    return browser


def signers(stage: Stage) -> dict[str, SigningPerson]:
    """The people who sign, each with a passkey that the policy lists."""
    found = {}
    for name in SIGNERS:
        browser = signed_in(stage, name)
        key = Authenticator(name, rp_id="localhost", origin=str(browser.base_url).rstrip("/"))
        file = Path(stage.state, f"{name}-passkey.json")
        file.write_text(json.dumps(key.passkey.to_json()))
        draft = str(Path(stage.state, "policy-next.json"))
        stage.command("person", "passkey", name, str(file), "--accept", "--draft", draft)
        csrf = _found(r'name="csrf" value="([^"]+)"', browser.get("/sessions").text)
        found[name] = SigningPerson(browser, key, csrf)
    return found


def approve_to_live(
    stage: Stage, people: dict[str, SigningPerson], versions: list[int]
) -> list[float]:
    """Milliseconds from the last approval's page to a version that answers, for each of these."""
    taken = []
    for version in versions:
        words = ("model", "propose", "digits", str(version), "--json")
        proposal = str(stage.command(*words, person="publisher")["proposal"])
        people["approver-1"].sign("approve", proposal=proposal)
        began = time.perf_counter()
        people["approver-2"].sign("approve", proposal=proposal)
        move = {"proposal": proposal, "model": "digits", "alias": "production"}
        target = people["admin"].sign("promote", **move)
        told: Any = people["admin"].browser.get(f"{target}/events").raise_for_status().text
        if "event: end" not in told:
            raise SystemExit(f"version {version} did not come live: {told}")
        taken.append(1e3 * (time.perf_counter() - began))
    return taken
