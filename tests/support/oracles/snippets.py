"""The programs that docs/how-to/clients.md shows."""

import re

from tests.support.harness.gateway import ROOT, GatewayHarness

PAGE = ROOT / "docs" / "how-to" / "clients.md"


def snippets(language: str) -> list[str]:
    """Its blocks of one language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def as_written_for(harness: GatewayHarness, text: str) -> str:
    """The same program for a gateway that listens on another port."""
    assert "localhost:8443" in text
    port = harness.profile("client").endpoint.rpartition(":")[2]
    return text.replace("localhost:8443", f"localhost:{port}")
