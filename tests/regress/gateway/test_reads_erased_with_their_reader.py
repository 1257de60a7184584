"""One admin's call, without a signature, made it unknowable who had read audit data.

Each read was an entry about its reader, and whoever an entry is about can be erased: after
`subject erase auditor` no auditor had ever read anything, half a year of retention or not.
"""

import json

from sealgate.v1 import log_pb2 as messages
from tests.support.house import House, running


def readers(house: House) -> list[str]:
    told = house.command("audit", "readers", "--by", "auditor", "--json")
    assert told.exit_code == 0, told.output
    return [row["method"] for row in json.loads(told.stdout)]


def test_who_read_stays_known_when_a_reader_is_erased(tmp_path):
    with running(tmp_path / "state") as house:
        registry = house.gateway._store.registry.log.origin
        house.logs().GetEntry(messages.GetEntryRequest(origin=registry, index=0), timeout=60)
        before = readers(house)
        assert "GetEntry" in before
        erased = house.command("subject", "erase", "auditor", "--yes")
        assert erased.exit_code == 0, erased.output
        assert readers(house)[: len(before)] == before
