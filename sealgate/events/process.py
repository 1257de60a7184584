"""The events process: its parts, put together from `events.toml`."""

import socket
import sqlite3
import time
from collections.abc import Callable

from sealgate.events.config import EventsConfig
from sealgate.events.delivery import Deliveries
from sealgate.events.kinds import CloudEvent
from sealgate.events.registry_events import RegistryEvents
from sealgate.events.store import EventStore
from sealgate.events.webhooks import Webhook
from sealgate.settings import ConfigError


def open_store(config: EventsConfig, clock: Callable[[], float] = time.time) -> EventStore:
    """Raises: ConfigError for a database that cannot be used."""
    try:
        return EventStore(config.state.database, clock)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"[state] database = {config.state.database}: {error}") from error


class EventsProcess:
    """Follows, looks and delivers between `start` and `stop`."""

    def __init__(self, config: EventsConfig) -> None:
        """Raises: ConfigError."""
        if not config.destinations:
            raise ConfigError("[[destinations]] is missing: nothing would be told to anybody")
        self._config = config
        webhooks = [
            Webhook.open(config, settings, time.time, socket.getaddrinfo)
            for settings in config.destinations
        ]
        self.store = open_store(config)
        self.deliveries = Deliveries(self.store, webhooks, config.delivery)
        self.registry = RegistryEvents(
            config.gateway.profile,
            self.store,
            self._keep,
            from_beginning=config.gateway.from_beginning,
            most_waiting=config.state.most_waiting,
        )

    def start(self) -> None:
        self.deliveries.start()
        self.registry.start()

    def stop(self) -> None:
        self.registry.stop()
        self.deliveries.stop()
        self.store.close()

    def _keep(self, event: CloudEvent, place: tuple[str, str]) -> None:
        wanted = [
            each.name for each in self._config.destinations if each.wants(event.kind, event.model)
        ]
        self.store.add([(event, wanted)], [place])
        self.deliveries.wake(wanted, event.model)
