"""A parser with a planted defect, by which the fuzzing itself is tested."""

from collections.abc import Iterator

from sealgate.trust import canonical
from tests.fuzz.harness import Harness


def _parse(data: bytes) -> None:
    """What the seed has, all documents must have: one changed letter that still parses is enough.

    A defect that takes more than that is found or not by chance: the fuzzer's choices hang on the
    addresses of what it compares, whatever its seed.
    """
    assert "a" in canonical.decode(data)


def _seeds() -> Iterator[bytes]:
    yield b'{"a":[1,"b"]}'


HARNESSES = (Harness("planted", _parse, _seeds, ()),)
