"""Signing in by a one-time link, sessions, and signing out."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from sealgate.setup.credentials import ISSUER, mint_token
from sealgate.setup.people import SIGN_IN, write_link
from tests.support.harness.console import ConsoleHarness, csrf_of, session_number
from tests.support.harness.rollouts import await_true


def test_without_a_session_every_page_asks_to_sign_in(console, proposal):
    visitor = console.visitor()
    pages = ("/", "/models/digits", f"/proposals/{proposal}", "/audit", "/people", "/sessions")
    for page in pages:
        answer = visitor.get(page)
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert "console link" in visitor.get("/sign-in").text


def test_a_link_opens_a_session_when_its_button_is_pressed_once(console):
    visitor, link = console.visitor(), console.link("approver-2")
    for _ in range(2):
        looked = visitor.get(link)
        assert looked.status_code == 200
        assert "set-cookie" not in looked.headers
    answer = visitor.post(link)
    said = answer.headers["set-cookie"]
    assert all(word in said for word in ("HttpOnly", "Secure", "SameSite=strict", "Path=/"))
    assert "Domain" not in said
    visitor.headers["cookie"] = f"__Host-sealgate={session_number(answer)}"
    assert "approver-2" in visitor.get("/").text
    again = console.visitor().post(link)
    assert again.status_code == 404
    assert "used already" in again.text


def test_a_link_of_a_person_whom_the_policy_does_not_know_opens_nothing(console):
    answer = console.visitor().post(console.link("mallory"))
    assert answer.status_code == 401
    assert "PRINCIPAL_UNKNOWN" in answer.text
    assert "set-cookie" not in answer.headers


def test_a_token_that_is_bound_to_another_certificate_opens_nothing(console):
    key = (console.gateway.state / "issuer" / "issuer.key").read_bytes()
    now = datetime.now(UTC)
    token = mint_token(key, "admin", now, timedelta(hours=1), bound_to="0" * 43)
    code = write_link(console.links, SIGN_IN, token, now, timedelta(minutes=5))
    answer = console.visitor().post(f"/links/{code}")
    assert answer.status_code == 401
    assert "TOKEN_BINDING" in answer.text


def test_the_token_of_a_link_is_useless_without_the_consoles_certificate(console, tmp_path):
    """A copied token works neither with another person's certificate nor without one."""
    import grpc

    from sealgate.reasons import Reason
    from sealgate.remote import Access, reason_of
    from sealgate.remote.connection import CHANNEL_OPTIONS
    from sealgate.v1.registry_pb2 import ListModelsRequest
    from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

    key = (console.gateway.state / "issuer" / "issuer.key").read_bytes()
    from sealgate.trust.keys.certificate_identity import thumbprint

    bound = thumbprint(console.config.gateway.certificate.read_text())
    token = mint_token(key, "admin", datetime.now(UTC), timedelta(hours=1), bound_to=bound)
    profile = console.gateway.profile("client")
    access = Access(profile.endpoint, profile.server_authority.read_bytes(), token=token)
    channel = grpc.secure_channel(access.endpoint, access.credentials(), CHANNEL_OPTIONS)
    with channel, pytest.raises(grpc.RpcError) as caught:
        RegistryServiceStub(channel).ListModels(ListModelsRequest())
    assert reason_of(caught.value) is Reason.TOKEN_BINDING


def test_a_session_ends_at_its_idle_time(gateway):
    clock = [time.time()]
    console = ConsoleHarness(gateway, lambda: clock[0])
    browser = console.signed_in("auditor")
    clock[0] += console.config.sessions.idle - 1
    assert browser.get("/people").status_code == 200
    clock[0] += console.config.sessions.idle
    assert browser.get("/people").status_code == 303


def test_signing_out_and_signing_out_everywhere(console):
    first, second = console.signed_in("admin"), console.signed_in("admin")
    other = console.signed_in("auditor")
    assert second.get("/sessions").text.count("a test") >= 2
    answer = first.post("/sign-out", data={"csrf": csrf_of(first.get("/sessions").text)})
    assert answer.headers["location"] == "/sign-in"
    assert first.get("/").status_code == 303
    assert second.get("/").status_code == 200
    third = console.signed_in("admin")
    third.post("/sign-out-everywhere", data={"csrf": csrf_of(third.get("/sessions").text)})
    assert [browser.get("/").status_code for browser in (second, third, other)] == [303, 303, 200]


def test_a_form_without_the_sessions_csrf_token_changes_nothing(console):
    mine, theirs = console.signed_in("auditor"), console.signed_in("approver-1")
    token = csrf_of(theirs.get("/sessions").text)
    for form in ({}, {"csrf": ""}, {"csrf": "x"}, {"csrf": token}):
        answer = mine.post("/sign-out", data=form)
        assert answer.status_code == 403
        assert "too old" in answer.text
    assert mine.get("/").status_code == 200


def test_a_large_form_is_not_read(console):
    browser = console.signed_in("auditor")
    token = csrf_of(browser.get("/sessions").text)
    answer = browser.post("/sign-out", data={"csrf": token, "more": "x" * (1 << 18)})
    assert answer.status_code == 403


def test_a_link_from_another_site_is_followed_after_the_page_asked_again(console):
    """The browser leaves a strict cookie out of such a request, and sends it with the next."""
    answer = console.visitor().get("/proposals?x=1", headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 200
    assert 'content="0;url=/proposals?x=1"' in answer.text


@pytest.mark.parametrize("path", ["//evil.example/", "/%5C%5Cevil.example", "/%09/evil.example"])
def test_a_path_that_names_another_host_leads_nowhere_else(console, path):
    """The page that asks again must not send anybody to another site."""
    answer = console.visitor().get(console.origin + path, headers={"sec-fetch-site": "cross-site"})
    assert "url=//" not in answer.text
    assert "url=/\\" not in answer.text
    assert answer.status_code in (303, 404)


def test_nothing_is_kept_of_sessions_and_links_that_ended(gateway):
    """Whether or not anybody asks for a page."""
    now = [time.time()]
    console = ConsoleHarness(gateway, lambda: now[0])
    auditor = console.signed_in("auditor")
    token = csrf_of(auditor.get("/audit/pack").text)
    packs = console.app.state.console.packs
    (session,) = console.app.state.console.sessions.of(f"jwt:{ISSUER} auditor")
    auditor.post("/audit/pack", data={"csrf": token, "models": "digits"})
    job = packs.of(session.handle)
    await_true(lambda: job.ended)
    console.link("auditor")
    now[0] += 86_400
    console.app.state.console.tidy()
    assert not [file for file in console.links.iterdir() if file.is_file()]
    assert not job.file.parent.exists()
