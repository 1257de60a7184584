"""By compose the gateway had the whole installation, and so the key by which the engine signs what
it has run: who took the gateway could count for the engine. Its unit has always hidden it.
"""

import yaml

from tests.support.house import ROOT

KEY = "/var/lib/sealgate/keys/engine.key"


def test_compose_hides_it() -> None:
    services = yaml.safe_load((ROOT / "deploy" / "compose.yml").read_text())["services"]
    at = {
        name: [volume for volume in services[name]["volumes"] if KEY in volume]
        for name in ("gateway", "engine")
    }
    assert at["gateway"] == [f"/dev/null:{KEY}:ro"]
    assert at["engine"] == [f"${{SEALGATE_STATE}}/keys/engine.key:{KEY}:ro"]
