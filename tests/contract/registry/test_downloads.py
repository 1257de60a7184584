"""Files of versions as they leave: in blocks, and never of other bytes."""

import hashlib
import os
import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import save

from sealgate.reasons import Reason
from sealgate.trust.statements import oms
from tests.support.builders.documents.people import p256_key, refused
from tests.support.harness.registry import RegistryHarness, version_files

LARGE = "weights.safetensors"
DATA = save({"w": np.zeros(8 << 20, np.uint8)})


@pytest.fixture(autouse=True)
def version(harness: RegistryHarness) -> None:
    """The first, with a file of several blocks."""
    manifest = harness.upload({**version_files(), LARGE: DATA})
    harness.registry.versions.register(
        "paula",
        "digits",
        manifest.encode(),
        oms.sign(manifest, p256_key("paula")),
        [harness.evidence(manifest)],
        harness.commitment("digits"),
    )


def test_a_large_file_is_never_whole_in_memory(harness: RegistryHarness) -> None:
    tracemalloc.start()
    try:
        found = hashlib.sha256()
        for block in harness.registry.versions.file_blocks("digits", 1, LARGE):
            found.update(block)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.digest() == hashlib.sha256(DATA).digest()
    assert peak < len(DATA) / 2


def test_nothing_comes_of_an_altered_file(harness: RegistryHarness) -> None:
    alter(harness)
    with refused(Reason.VERSION_ALTERED):
        next(harness.registry.versions.file_blocks("digits", 1, LARGE))


def test_the_end_of_a_file_that_is_altered_meanwhile_stays(harness: RegistryHarness) -> None:
    blocks = harness.registry.versions.file_blocks("digits", 1, LARGE)
    came = len(next(blocks))
    alter(harness)
    with refused(Reason.VERSION_ALTERED):
        for block in blocks:
            came += len(block)
    assert 0 < came < len(DATA)


def test_a_path_that_the_version_does_not_have(harness: RegistryHarness) -> None:
    with refused(Reason.FILE_SURPLUS):
        next(harness.registry.versions.file_blocks("digits", 1, "../registry.db"))


def alter(harness: RegistryHarness) -> None:
    """Change the file's last byte, where it is stored."""
    name = hashlib.sha256(DATA).hexdigest()
    path = harness.folder / "artifacts" / name[:2] / name[2:]
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\1")
