"""A network of its own for a process, joined to ours by a cable that can be pulled."""

import itertools
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

# Of documentation, RFC 5737: nobody is there.
_ADDRESSES = itertools.count(4 * (os.getpid() % 60), 4)


class OtherNetwork:
    """`words` run a program in it, where it is `host`, and we are `ours`. Needs root."""

    def __init__(self) -> None:
        self.name = f"sg-{secrets.token_hex(4)}"
        first = next(_ADDRESSES) % 252
        self.ours, self.host = (f"203.0.113.{first + at}" for at in (1, 2))
        self.words = ("ip", "netns", "exec", self.name)
        ours, theirs = f"{self.name}a", f"{self.name}b"
        self._theirs = theirs
        _ip("netns", "add", self.name)
        _ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", self.name)
        _ip("addr", "add", f"{self.ours}/30", "dev", ours)
        _ip("link", "set", ours, "up")
        self._inside("addr", "add", f"{self.host}/30", "dev", theirs)
        self._inside("link", "set", "lo", "up")
        self.join()

    def cut(self) -> None:
        """Packets from now on are lost, and nobody is told."""
        self._inside("link", "set", self._theirs, "down")

    def join(self) -> None:
        self._inside("link", "set", self._theirs, "up")
        # To all addresses of this machine.
        self._inside("route", "replace", "default", "via", self.ours)

    def remove(self) -> None:
        _ip("netns", "del", self.name)

    def _inside(self, *words: str) -> None:
        _ip("-n", self.name, *words)


@contextmanager
def other_network() -> Iterator[OtherNetwork]:
    """Skips the test where such networks cannot be made."""
    try:
        network = OtherNetwork()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespaces: {error}")
    try:
        yield network
    finally:
        network.remove()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
