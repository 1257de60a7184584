"""Signed webhooks, judged by the libraries of others; and what is not sent, with its reason."""

import json
import os
import socket
from datetime import UTC, datetime, timedelta

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.formats.json import JSONFormat
from standardwebhooks import Webhook as StandardWebhook
from standardwebhooks import WebhookVerificationError

from sealgate.events.webhooks import NotDelivered, new_secret
from sealgate.settings import ConfigError
from sealgate.setup.credentials import CertificateAuthority
from sealgate.trust.keys import write_private_file
from tests.support.harness.servers.webhooks import WebhookReceiver


@pytest.fixture
def send(store, event):
    """Sends one event by a webhook."""

    def go(webhook):
        store.add([(event(1), ["hook"])])
        webhook.send(store.first("hook", "digits"))

    return go


def at(address):
    return lambda host, port, **_: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]


def test_a_delivery_is_a_cloud_event_that_others_can_read_and_verify(
    receiver, webhook, send, secret
):
    send(webhook(receiver.url))
    (came,) = receiver.received
    assert came.path == "/hook"
    body = StandardWebhook(secret).verify(came.body, came.headers)
    read = from_structured_event(HTTPMessage(came.headers, came.body), JSONFormat())
    assert read.get_id() == came.headers["webhook-id"] == "1-digits"
    assert read.get_type() == "sealgate.version.registered"
    assert read.get_source() == "house.localhost/registry"
    assert read.get_subject() == "models/digits/versions/1"
    assert read.get_time() == datetime(2026, 11, 29, 10, tzinfo=UTC)
    assert read.get_extension("partitionkey") == "digits"
    data = {"principal": "publisher", "version": 1, "reason": "<b>a & b</b>"}
    assert read.get_data() == body["data"] == data


def test_both_secrets_verify_while_one_takes_over_from_the_other(
    receiver, webhook, send, secret, tmp_path
):
    following = new_secret()
    write_private_file(tmp_path / "next.key", following.encode())
    send(webhook(receiver.url, secrets='["hook.key", "next.key"]'))
    (came,) = receiver.received
    for key in (secret, following):
        StandardWebhook(key).verify(came.body, came.headers)
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        StandardWebhook(new_secret()).verify(came.body, came.headers)


def test_a_secret_that_changes_signs_the_next_attempt(receiver, webhook, send, tmp_path):
    made = webhook(receiver.url)
    other = new_secret()
    (tmp_path / "hook.key").write_text(other)
    send(made)
    StandardWebhook(other).verify(receiver.received[0].body, receiver.received[0].headers)


def test_what_was_captured_cannot_be_sent_again_later(receiver, webhook, send, secret):
    earlier = (datetime.now(UTC) - timedelta(minutes=6)).timestamp()
    send(webhook(receiver.url, clock=lambda: earlier))
    with pytest.raises(WebhookVerificationError, match="too old"):
        StandardWebhook(secret).verify(receiver.received[0].body, receiver.received[0].headers)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (302, "HTTP 302, a redirect, which is not followed"),
        (307, "HTTP 307, a redirect, which is not followed"),
        (400, "HTTP 400"),
        (503, "HTTP 503"),
    ],
)
def test_any_other_status_is_a_failure(receiver, webhook, send, status, reason):
    receiver.answer = lambda _: status
    receiver.headers = {"location": f"http://127.0.0.1:{receiver.port}/elsewhere"}
    with pytest.raises(NotDelivered) as caught:
        send(webhook(receiver.url))
    assert (str(caught.value), caught.value.final) == (reason, False)
    assert [each.path for each in receiver.received] == ["/hook"]


def test_a_receiver_that_is_gone_for_good_is_not_tried_again(receiver, webhook, send):
    receiver.answer = lambda _: 410
    with pytest.raises(NotDelivered) as caught:
        send(webhook(receiver.url))
    assert caught.value.final


def test_an_answer_without_end_is_cut_off(receiver, webhook, send):
    receiver.headers = {"x": "y" * 70_000}
    with pytest.raises(NotDelivered, match=r"^LineTooLong$"):
        send(webhook(receiver.url))


def test_a_name_that_leads_into_a_private_network_is_not_connected_to(receiver, webhook, send):
    made = webhook(
        f"https://hooks.example.com:{receiver.port}/hook",
        '"hooks.example.com"',
        at("127.0.0.1"),
        loopback="",
    )
    with pytest.raises(NotDelivered, match=r"hooks\.example\.com is 127\.0\.0\.1: loopback"):
        send(made)
    assert not receiver.received


def test_a_name_is_looked_up_once_and_what_was_checked_is_connected_to(receiver, webhook, send):
    asked = []

    def resolve(host, port, **options):
        # A second look-up, such as the connection's own, would lead elsewhere.
        asked.append(host)
        return at("127.0.0.1" if len(asked) == 1 else "192.0.2.1")(host, port)

    url = f"http://hooks.test:{receiver.port}/hook"
    send(webhook(url, '"hooks.test"', resolve))
    assert asked == ["hooks.test"]
    assert receiver.received[0].headers["host"] == f"hooks.test:{receiver.port}"


def test_the_certificate_must_be_that_of_the_host(webhook, send, tmp_path):
    authority = CertificateAuthority("test", datetime.now(UTC), timedelta(days=1))
    server = authority.server("hooks", ("hooks.test",))
    write_private_file(tmp_path / "ca.pem", authority.pem)
    write_private_file(tmp_path / "chain.pem", server.certificate)
    write_private_file(tmp_path / "server.key", server.key)
    receiver = WebhookReceiver((tmp_path / "chain.pem", tmp_path / "server.key"))
    try:
        names, place = '"hooks.test", "other.test"', f"test:{receiver.port}/hook"
        options = {"resolve": at("127.0.0.1"), "authority": '"ca.pem"'}
        with pytest.raises(NotDelivered, match="certificate does not verify: Hostname mismatch"):
            send(webhook(f"https://other.{place}", names, **options))
        with pytest.raises(NotDelivered, match="certificate does not verify: unable to get"):
            send(webhook(f"https://hooks.{place}", names, **options | {"authority": ""}))
        send(webhook(f"https://hooks.{place}", names, **options))
    finally:
        receiver.close()
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("url", "given", "reason"),
    [
        ("http://127.0.0.1/", {"loopback": ""}, "is not https, and loopback is not set"),
        ("ftp://127.0.0.1/", {}, "is not like https://host/path"),
        ("https://evil.example/", {}, "which [network] hosts does not name"),
        ("https://127.0.0.1.evil.example/", {}, "which [network] hosts does not name"),
        ("https://127.0.0.1@evil.example/", {}, "has a user's name or password"),
        ("https://127.0.0.1:x/", {}, "is not a URL"),
        ("https://127.0.0.1/a b", {}, "has characters that a URL must escape"),
        ("https://127.0.0.1/", {"secrets": ""}, "secrets is missing: events are signed"),
        ("https://127.0.0.1/", {"format": '"xml"'}, "format is none of cloudevents, slack, teams"),
        ("https://127.0.0.1/", {"kinds": '["version.*", "nothing"]'}, "no kind 'nothing'"),
        ("https://127.0.0.1/", {"redirects": "true"}, "has no setting 'redirects'"),
        ("https://127.0.0.1/", {"authority": '"no.pem"'}, "authority: No such file"),
    ],
)
def test_a_destination_that_must_not_be_is_refused_at_the_start(webhook, url, given, reason):
    with pytest.raises(ConfigError) as caught:
        webhook(url, **given)
    assert reason in str(caught.value)


def test_a_secret_that_others_can_read_is_refused(webhook, receiver, tmp_path):
    os.chmod(tmp_path / "hook.key", 0o640)
    with pytest.raises(ConfigError, match=r"KEY_FILE_EXPOSED: .*hook\.key has mode -rw-r-----"):
        webhook(receiver.url)


@pytest.mark.parametrize(
    ("text", "reason"), [("whsec_###", "is not of the form"), ("whsec_c2hvcnQ=", "has 5 bytes")]
)
def test_a_secret_of_another_form_is_refused_without_telling_it(webhook, tmp_path, text, reason):
    (tmp_path / "hook.key").write_text(text)
    with pytest.raises(ConfigError, match=reason) as caught:
        webhook("http://127.0.0.1/")
    assert text not in str(caught.value)


def test_a_url_may_be_a_secret_in_a_file(receiver, webhook, send, tmp_path):
    url = f"http://127.0.0.1:{receiver.port}/services/T0/B0/secret"
    write_private_file(tmp_path / "hook.url", url.encode() + b"\n")
    send(webhook("hook.url", format='"slack"', secrets=""))
    assert receiver.received[0].path == "/services/T0/B0/secret"
    receiver.close()
    with pytest.raises(NotDelivered) as caught:
        send(webhook("hook.url", format='"slack"', secrets=""))
    assert str(caught.value) == "ConnectionRefusedError: Connection refused"
    os.chmod(tmp_path / "hook.url", 0o644)
    with pytest.raises(ConfigError, match="KEY_FILE_EXPOSED"):
        webhook("hook.url", format='"slack"', secrets="")


def test_slack_gets_blocks_whose_texts_are_escaped(receiver, webhook, send):
    send(webhook(receiver.url, format='"slack"', secrets=""))
    message = json.loads(receiver.received[0].body)
    assert message["text"] == "A version was registered: models/digits/versions/1"
    fields = [field["text"] for field in message["blocks"][1]["fields"]]
    assert fields[1] == "by publisher"
    assert fields[3] == "&lt;b&gt;a &amp; b&lt;/b&gt;"


def test_teams_gets_an_adaptive_card(receiver, webhook, send):
    send(webhook(receiver.url, format='"teams"', secrets=""))
    (attachment,) = json.loads(receiver.received[0].body)["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    texts = [block["inlines"][0]["text"] for block in attachment["content"]["body"]]
    assert texts[:2] == ["A version was registered", "models/digits/versions/1"]


def test_a_template_of_ones_own_is_filled_in_without_changing_its_structure(
    receiver, webhook, send, tmp_path
):
    (tmp_path / "mine.json").write_text('{"say": "$kind: $model", "to": ["ops"], "n": 1}')
    send(webhook(receiver.url, format='"slack"', secrets="", template='"mine.json"'))
    assert json.loads(receiver.received[0].body) == {
        "say": "version.registered: digits",
        "to": ["ops"],
        "n": 1,
    }


def test_a_template_with_an_unknown_placeholder_is_refused(webhook, tmp_path):
    (tmp_path / "mine.json").write_text('{"say": "$secret"}')
    with pytest.raises(ConfigError, match="KeyError: 'secret'"):
        webhook("http://127.0.0.1/", format='"slack"', template='"mine.json"')


@pytest.mark.parametrize(
    ("given", "kind", "model", "wanted"),
    [
        ({}, "policy.accepted", "", True),
        ({"models": '["digits"]'}, "version.revoked", "digits", True),
        ({"models": '["digits"]'}, "version.revoked", "spam", False),
        ({"models": '["digits"]'}, "policy.accepted", "", False),
        ({"kinds": '["proposal.*"]'}, "proposal.opened", "digits", True),
        ({"kinds": '["proposal.*"]'}, "version.revoked", "digits", False),
        ({"kinds": '["*.expiring"]'}, "policy.expiring", "", True),
    ],
)
def test_a_destination_gets_the_kinds_and_models_that_it_names(webhook, given, kind, model, wanted):
    assert webhook("http://127.0.0.1/", **given).settings.wants(kind, model) is wanted
