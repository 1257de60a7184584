"""A parser with a planted defect, by which the fuzzing itself is tested."""

from collections.abc import Iterator

from sealgate.trust import canonical
from tests.fuzz.harness import Harness


def _parse(data: bytes) -> None:
    """Fail on a document without the seed's letter, which one changed byte brings about.

    A defect that takes more would be found by chance: the fuzzer's choices depend on addresses in
    memory, even with a fixed seed.
    """
    assert "a" in canonical.decode(data)


def _seeds() -> Iterator[bytes]:
    yield b'{"a":[1,"b"]}'


HARNESSES = (Harness("planted", _parse, _seeds, ()),)
