"""A receiver, a store, and destinations, for tests of deliveries."""

import socket
import time
from collections.abc import Iterator

import pytest

from sealgate.events.cloud_events import CloudEvent
from sealgate.events.config import EventsConfig
from sealgate.events.store import EventStore
from sealgate.events.webhooks import Webhook, new_secret
from sealgate.trust.keys import write_private_file
from tests.support.harness.servers.webhooks import WebhookReceiver


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    found = WebhookReceiver()
    yield found
    found.close()


@pytest.fixture
def store(tmp_path) -> Iterator[EventStore]:
    found = EventStore(tmp_path / "events.sqlite")
    yield found
    found.close()


@pytest.fixture
def secret(tmp_path) -> str:
    """In the file `hook.key`."""
    made = new_secret()
    write_private_file(tmp_path / "hook.key", made.encode() + b"\n")
    return made


@pytest.fixture
def webhook(tmp_path, secret):
    """Makes a webhook from what a destination's section says beside its name."""

    def make(
        url: str, hosts: str = '"127.0.0.1"', resolve=socket.getaddrinfo, clock=time.time, **given
    ) -> Webhook:
        lines = {
            "name": '"hook"',
            "secrets": '["hook.key"]',
            "loopback": "true",
            "url": f'"{url}"',
        } | given
        path = tmp_path / "events.toml"
        path.write_text(
            '[gateway]\nprofile = "profile.toml"\n[state]\ndatabase = "events.sqlite"\n'
            f"[network]\nhosts = [{hosts}]\n[delivery]\ntimeout = 2.0\n"
            "[[destinations]]\n"
            + "".join(f"{name} = {value}\n" for name, value in lines.items() if value)
        )
        config = EventsConfig.read(path)
        return Webhook.open(config, config.destinations[0], clock, resolve)

    return make


@pytest.fixture
def event():
    """Makes the n-th event, of a model."""

    def make(number: int, model: str = "digits") -> CloudEvent:
        return CloudEvent(
            f"{number}-{model}",
            "house.localhost/registry",
            "version.registered",
            f"models/{model}/versions/{number}",
            "2026-11-29T10:00:00Z",
            model,
            {"principal": "publisher", "version": number, "reason": "<b>a & b</b>"},
        )

    return make
