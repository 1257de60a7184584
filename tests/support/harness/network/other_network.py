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
    """`words` run a program in it, where it is `host`. Needs root."""

    def __init__(self) -> None:
        self._name = f"sg-{secrets.token_hex(4)}"
        first = next(_ADDRESSES) % 252
        self.host = f"203.0.113.{first + 2}"
        self.words = ("ip", "netns", "exec", self._name)
        ours, theirs = f"{self._name}a", f"{self._name}b"
        self._theirs = theirs
        _ip("netns", "add", self._name)
        _ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", self._name)
        _ip("addr", "add", f"203.0.113.{first + 1}/30", "dev", ours)
        _ip("link", "set", ours, "up")
        self._inside("addr", "add", f"{self.host}/30", "dev", theirs)
        self._inside("link", "set", "lo", "up")
        self.join()

    def cut(self) -> None:
        """What is sent from now on is lost, and nobody is told."""
        self._inside("link", "set", self._theirs, "down")

    def join(self) -> None:
        self._inside("link", "set", self._theirs, "up")

    def remove(self) -> None:
        _ip("netns", "del", self._name)

    def _inside(self, *words: str) -> None:
        _ip("-n", self._name, *words)


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
