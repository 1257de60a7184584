"""The way to an engine: a channel, and another where what it is opened with has changed."""

import logging

import grpc

from inference.remote.door import Door
from sealgate.settings import ConfigError

_log = logging.getLogger(__name__)


class Way:
    """`channel` connects when it is used. For one thread to renew."""

    def __init__(self, door: Door) -> None:
        """Raises: ConfigError where the door's files cannot be used."""
        self._door = door
        self._stamps = door.stamps()
        self.channel = door.open()
        self._before: grpc.Channel | None = None

    def renew(self) -> bool:
        """Open it anew where its files have changed; whether it was. What cannot be used changes
        nothing. Calls on the one before go on, until there is a third.
        """
        found = self._door.stamps()
        if found == self._stamps:
            return False
        self._stamps = found
        try:
            channel = self._door.open()
        except ConfigError as error:
            _log.error("the certificates of before stay: %s", error)
            return False
        if self._before is not None:
            self._before.close()
        self._before, self.channel = self.channel, channel
        _log.info("the way to an engine has new certificates")
        return True

    def close(self) -> None:
        for channel in (self.channel, self._before):
            if channel is not None:
                channel.close()
