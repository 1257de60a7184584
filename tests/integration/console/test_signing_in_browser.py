"""Passkeys that people make and sign with in a real Chromium."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.virtual_authenticator import VirtualAuthenticatorOptions
from selenium.webdriver.support.ui import WebDriverWait

from tests.support.builders.documents.authenticator import Authenticator
from tests.support.harness import policy_changes
from tests.support.harness.clients.browser import chromium
from tests.support.harness.console import ConsoleHarness
from tests.support.harness.gateway import GatewayHarness, running
from tests.support.harness.policy_changes import list_passkeys

_SECONDS = 60


@pytest.fixture(scope="module")
def gateway(tmp_path_factory) -> Iterator[GatewayHarness]:
    """Digits 1 in production, digits 2 to be proposed."""
    with running(
        tmp_path_factory.mktemp("signing") / "state", "digits-standard", "digits-hardened"
    ) as harness:
        harness.promote("digits", 1)
        yield harness


@pytest.fixture(scope="module")
def console(gateway) -> ConsoleHarness:
    return ConsoleHarness(gateway)


@contextmanager
def browsing(folder) -> Iterator[Chrome]:
    """A Chromium with a virtual authenticator that verifies its user."""
    with chromium(folder) as driver:
        options = VirtualAuthenticatorOptions(
            protocol="ctap2",
            transport="internal",
            has_resident_key=True,
            has_user_verification=True,
            is_user_verified=True,
        )
        driver.add_virtual_authenticator(options)
        yield driver


class Visitor:
    """Somebody at a browser, who reads pages and presses buttons."""

    def __init__(self, driver: Chrome, origin: str) -> None:
        self.driver = driver
        self.origin = origin

    def go(self, path: str) -> None:
        self.driver.get(self.origin + path)

    def press(self, selector: str) -> None:
        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def wait(self, title: str) -> None:
        found = WebDriverWait(self.driver, _SECONDS, 0.01)
        found.until(lambda driver: driver.title.startswith(title))

    @property
    def text(self) -> str:
        return self.driver.find_element(By.ID, "main").text


def follow(gateway, draft) -> None:
    """Have the roots sign a draft, and the gateway follow it."""
    document = json.loads(draft.read_text())
    roots = (policy_changes.root(gateway, 1), policy_changes.root(gateway, 2))
    policy_changes.send(gateway, policy_changes.signed(document, *roots))
    policy_changes.follow(gateway, document["version"])


def run(gateway, *words) -> str:
    done = gateway.command(*words)
    assert done.exit_code == 0, done.output or done.exception
    return done.output


def test_who_gets_a_link_by_mail_makes_a_passkey_signs_in_and_approves(gateway, console, tmp_path):
    """From `person add` to an approval that registry and engine verify, in a real Chromium."""
    draft = tmp_path / "next.json"
    with console.serving(), browsing(tmp_path / "chromium") as driver:
        dora = Visitor(driver, console.origin)
        words = ("person", "add", "dora", "--role", "approver", "--passkey")
        link = re.search(r"/links/\S+", run(gateway, *words, "--draft", str(draft)))[0]
        dora.go(link)
        dora.press("form[data-ceremony] button")
        dora.wait("Make your passkey")
        WebDriverWait(driver, _SECONDS, 0.01).until(lambda _: "is made" in dora.text)
        listed = run(gateway, "person", "passkey", "dora", "--draft", str(draft))
        assert re.search(r"[0-9a-f]{64}", listed)[0] in dora.text
        follow(gateway, draft)
        proposal = gateway.propose("digits", 2).digest
        dora.go("/sign-in")
        dora.press("form[action='/sign-in/passkey'] button")
        WebDriverWait(driver, _SECONDS, 0.01).until(
            lambda found: found.find_elements(By.CSS_SELECTOR, "form[data-ceremony]")
        )
        dora.press("form[data-ceremony] button")
        dora.wait("Overview")
        dora.press(f"a[href='/proposals/{proposal}']")
        dora.wait("Proposal")
        form = "form.act:has(input[value=approve])"
        driver.find_element(By.CSS_SELECTOR, f"{form} input[name=words]").send_keys("read it all")
        dora.press(f"{form} button")
        dora.wait("Approve")
        dora.press("form[data-ceremony] button")
        dora.wait("Proposal")
        assert "dora approved “read it all”" in dora.text
        assert [line["message"] for line in driver.get_log("browser")] == []
        dora.go(link)
        assert "does not work" in dora.text


def test_a_link_to_enrol_takes_a_passkey_alone(gateway, console, tmp_path):
    words = ("person", "enrol", "emil")
    link = re.search(r"/links/\S+", run(gateway, *words))[0]
    visitor = console.visitor()
    for form in ({}, {"authenticator_data": "AAAA"}):
        assert "WEBAUTHN_MALFORMED" in visitor.post(link, data=form).text
    assert "Make your passkey, emil" in visitor.get(link).text


def test_a_browser_approves_with_a_passkey_made_in_a_session(gateway, console, tmp_path):
    """An approver who has a session already, listed by the roots afterwards."""
    with console.serving(), browsing(tmp_path / "chromium") as driver:
        approver = Visitor(driver, console.origin)
        approver.go(console.link("approver-2"))
        approver.press("button.primary")
        approver.wait("Overview")
        approver.go("/passkeys")
        approver.press("form[data-ceremony] button")
        WebDriverWait(driver, _SECONDS, 0.01).until(lambda d: d.find_elements(By.ID, "made"))
        entry = json.loads(driver.find_element(By.CSS_SELECTOR, "main pre").text)
        policy = list_passkeys(gateway, {"approver-2": entry})
        assert {*entry} <= policy.signing_keys_of("approver-2").keys()


def test_another_name_than_the_models_is_refused_before_anything_is_signed(
    gateway, console, tmp_path
):
    key = Authenticator("admin's", rp_id="localhost", origin=console.origin)
    list_passkeys(gateway, {"admin": {key.keyid: key.passkey.to_json()}})
    with console.serving(), browsing(tmp_path / "chromium") as driver:
        admin = Visitor(driver, console.origin)
        admin.go(console.link("admin"))
        admin.press("button.primary")
        admin.wait("Overview")
        admin.go("/models/digits/versions/2")
        driver.find_element(By.CSS_SELECTOR, "form.act input[name=words]").send_keys("it leaks")
        admin.press("form.act button")
        admin.wait("Revoke")
        field = driver.find_element(By.CSS_SELECTOR, "input[name=confirm]")
        for typed, held in (("digit", False), ("s", True)):
            field.send_keys(typed)
            assert driver.execute_script("return arguments[0].checkValidity()", field) is held
            if not held:
                admin.press("form[data-ceremony] button")
                assert driver.find_element(By.CSS_SELECTOR, "[role=alert]").text == ""
                assert driver.title.startswith("Revoke")
