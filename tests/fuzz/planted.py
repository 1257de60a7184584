"""A parser with a planted defect, by which the fuzzing itself is tested."""

from collections.abc import Iterator

from sealgate.trust import canonical
from tests.fuzz.harness import Harness


def _parse(data: bytes) -> None:
    assert canonical.decode(data) != {}


def _seeds() -> Iterator[bytes]:
    yield b'{"a":[1,"b"]}'


HARNESSES = (Harness("planted", _parse, _seeds, ()),)
