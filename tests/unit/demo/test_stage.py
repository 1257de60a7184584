"""Where a gateway of the demo listens."""

from pathlib import Path

from demo.stage import free_ports


def test_no_connection_is_given_a_port_that_is_found_free() -> None:
    given = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    found = {free_ports() for _ in range(50)}
    assert max(found) + 1 < int(given[0])
    # Nobody is given what somebody has who does not listen yet.
    assert len(found) == 50
