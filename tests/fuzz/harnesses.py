"""All fuzz harnesses, by name."""

from tests.fuzz import credentials, documents, requests, version_files
from tests.fuzz.harness import Harness

HARNESSES: dict[str, Harness] = {
    harness.name: harness
    for module in (documents, version_files, credentials, requests)
    for harness in module.HARNESSES
}
