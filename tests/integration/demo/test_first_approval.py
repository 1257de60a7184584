"""From a clean clone to the first approval in a browser: `make run` is the only command."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from queue import Queue

import httpx2
import pytest

from console.display.formats import from_base64url
from demo.stage import free_ports
from sealgate.trust.fields import base64url
from tests.support.builders.documents.authenticator import Authenticator

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
_SECONDS = 240


class Browser:
    """A person at a browser, with a passkey in software."""

    def __init__(self, origin: str) -> None:
        self.key = Authenticator("first approval", rp_id="localhost", origin=origin)
        self.client = httpx2.Client(base_url=origin, headers={"Origin": origin}, timeout=_SECONDS)
        self.page = ""

    def get(self, path: str) -> str:
        self.page = self.client.get(path).raise_for_status().text
        return self.page

    def post(self, path: str, **form: str) -> httpx2.Response:
        answer = self.client.post(path, data=form)
        assert answer.status_code in (200, 303), answer.text
        self.page = answer.text
        return answer

    def find(self, pattern: str) -> str:
        found = re.search(pattern, self.page)
        assert found, self.page
        return found[1]

    def signed(self) -> dict[str, str]:
        """Return the passkey's answer to the challenge of the page."""
        text = self.find(r'data-challenge="([^"]+)"')
        given = self.key.answer(from_base64url({"challenge": text}, "challenge"))
        return {
            "challenge": text,
            "key_id": self.key.keyid,
            "credential": base64url(self.key.passkey.credential),
            "authenticator_data": base64url(given.authenticator_data),
            "client_data": base64url(given.client_data),
            "signature": base64url(given.signature),
        }

    def sign_in(self) -> None:
        self.post("/sign-in/passkey")
        answer = self.post("/sign-in/passkey", **self.signed())
        self.client.headers["cookie"] = answer.headers["set-cookie"].partition(";")[0]
        self.client.cookies.clear()


@pytest.fixture
def run(tmp_path: Path):
    """`make run`, as the Makefile has it, and the lines that it prints."""
    ports = ("--port", str(free_ports()), "--console-port", str(free_ports()))
    words = [sys.executable, "-u", "-m", "demo.run", "--state", str(tmp_path / "state"), *ports]
    env = {**os.environ, "COLUMNS": "200"}
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=env)
    lines: Queue[str] = Queue()
    assert process.stdout is not None
    reader = threading.Thread(target=lambda: [lines.put(x) for x in process.stdout], daemon=True)
    reader.start()
    try:
        yield lines
    finally:
        process.terminate()
        process.wait(_SECONDS)


def test_the_first_approval_takes_the_clone_and_one_command(run: "Queue[str]") -> None:
    # `make run` prints the links.
    links: list[str] = []
    while len(links) < 2:
        links += re.findall(r"http\S+/links/\S+", run.get(timeout=_SECONDS))
    origin, _, path = links[1].partition("/links/")
    browser = Browser(origin)
    assert "Make your passkey, approver-1" in browser.get(f"/links/{path}")
    browser.post(f"/links/{path}", authenticator_data=browser.key.created())
    assert browser.key.keyid in browser.page
    while "has a passkey now" not in run.get(timeout=_SECONDS):
        pass
    # In the browser: sign in, open what waits, and approve.
    browser.sign_in()
    browser.get("/")
    proposal = browser.find(r'href="/proposals/(sha256:[0-9a-f]+)"')
    csrf = browser.find(r'name="csrf" value="([^"]+)"')
    browser.post("/sign", csrf=csrf, action="approve", proposal=proposal, words="read it all")
    place = browser.find(r'action="(/sign/[^"]+)"')
    assert browser.post(place, csrf=csrf, **browser.signed()).status_code == 303
    assert "Approvals: 1 of 2" in browser.get(f"/proposals/{proposal}")
