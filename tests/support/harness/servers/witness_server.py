"""A witness of our own, on a port of this machine."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gateway.config.optional_sections import WitnessSettings
from sealgate.witness.commands import WitnessServer
from sealgate.witness.service import Witness, WitnessMemory
from tests.support.builders.documents.people import key


@contextmanager
def serving_witness(
    database: Path,
    logs: Mapping[str, str],
    name: str = "witness.example",
    who: str = "witness",
    port: int = 0,
) -> Iterator[WitnessSettings]:
    """Serve a witness for logs, given as verifier keys by origin; yield how to reach it."""
    memory = WitnessMemory(database, create=not database.exists())
    witness = Witness(name, key(who), logs, memory, time.time)
    server = WitnessServer("127.0.0.1", port, witness)
    server.start()
    try:
        yield WitnessSettings(f"http://127.0.0.1:{server.server_address[1]}", witness.vkey)
    finally:
        server.stop()
        memory.close()
