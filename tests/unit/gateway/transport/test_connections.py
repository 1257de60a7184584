"""Which connections are ended, and how those of gRPC are found and told apart."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from gateway.transport.connections import Bounds, GrpcConnections, room_for_unknown, subnet_of

BOUNDS = Bounds(connections=4, per_address=2, seconds=5.0)


@dataclass(frozen=True)
class Open:
    address: str
    since: float
    is_known: bool = False


def ended(*connections: Open, now: float = 4.0, bounds: Bounds = BOUNDS) -> list[Open]:
    return bounds.to_end(connections, now)


def test_whoever_authenticates_in_time_stays() -> None:
    late, known, early = Open("1.1.1.1", 0.0), Open("1.1.1.1", 0.0, True), Open("1.1.1.1", 0.1)
    assert ended(late, known, early, now=5.0) == [late]


def test_the_oldest_of_an_address_give_way() -> None:
    mine = [Open("1.1.1.1", since) for since in (0.0, 0.1, 0.2, 0.3)]
    another = Open("2.2.2.2", 0.0)
    assert set(ended(*mine, another)) == set(mine[:2])


def test_the_oldest_of_all_give_way() -> None:
    many = [Open(f"1.1.1.{number}", number / 10) for number in range(6)]
    assert set(ended(*many)) == set(many[:2])


def test_a_connection_is_spared_for_a_second() -> None:
    many = [Open("1.1.1.1", 3.5) for _ in range(100)]
    assert ended(*many) == []
    assert len(ended(*many, now=4.5)) == 98


def test_those_who_come_late_do_not_end_those_who_are_known() -> None:
    known = [Open("1.1.1.1", since, True) for since in range(4)]
    strangers = [Open("1.1.1.1", 0.0) for _ in range(50)]
    assert not set(known) & set(ended(*known, *strangers, now=100.0))


def test_the_newest_known_connections_beyond_the_limit_are_ended() -> None:
    known = [Open("1.1.1.1", since, True) for since in range(6)]
    assert set(ended(*reversed(known), now=100.0)) == set(known[4:])


def test_who_keeps_many_connections_shuts_out_no_other_address() -> None:
    """They stay known on them, whether or not their credential is revoked meanwhile."""
    many = [Open("1.1.1.1", since, True) for since in range(4)]
    others = [Open("2.2.2.2", 10.0, True), Open("3.3.3.3", 11.0, True)]
    assert set(ended(*many, *others, now=100.0)) == set(many[2:])
    each_alone = [Open(f"1.1.1.{since}", since, True) for since in range(7)]
    assert set(ended(*each_alone, now=100.0)) == set(each_alone[4:])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1.1.1.1", "1.1.1.2", False),
        ("1.1.1.1", "::ffff:1.1.1.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("not-an-address", "not-an-address", True),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, same: bool) -> None:
    assert (subnet_of(one) == subnet_of(other)) is same


def test_room_ends_where_file_descriptors_do() -> None:
    assert room_for_unknown(BOUNDS, 1_000_000) == 0
    assert room_for_unknown(BOUNDS, 1) <= 2_048


class Listener:
    """A server's socket in this process, with what it has accepted, and who connected."""

    def __init__(self, stack: ExitStack, host: str = "127.0.0.1") -> None:
        self._stack = stack
        self.host = host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = stack.enter_context(
            socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::")
        )
        self._address = "127.0.0.1" if host == "::" else host
        self.accepted: list[socket.socket] = []
        self.port = self._socket.getsockname()[1]

    def connected(self, port: int = 0) -> socket.socket:
        """The caller's end."""
        caller = socket.create_connection(
            (self._address, self.port), timeout=60, source_address=(self._address, port)
        )
        accepted, _ = self._socket.accept()
        self.accepted.append(self._stack.enter_context(accepted))
        return self._stack.enter_context(caller)


@pytest.fixture(params=["127.0.0.1", "::1", "::"])
def listener(request: pytest.FixtureRequest) -> Iterator[Listener]:
    with ExitStack() as stack:
        try:
            yield Listener(stack, request.param)
        except OSError:
            pytest.skip("no IPv6 here")


def name_of(caller: socket.socket) -> str:
    """As gRPC's context has it."""
    host, port, *rest = caller.getsockname()
    return f"ipv6:%5B{host}%5D:{port}" if rest else f"ipv4:{host}:{port}"


def is_closed(caller: socket.socket) -> bool:
    caller.setblocking(False)
    try:
        return caller.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False


@pytest.fixture
def looking(listener: Listener) -> GrpcConnections:
    bounds = Bounds(connections=4, per_address=2, seconds=1e9)
    return GrpcConnections(bounds, lambda: [listener.port])


FAR = 1e8


def test_connections_without_a_known_caller_are_shut_down(
    listener: Listener, looking: GrpcConnections
) -> None:
    callers = [listener.connected() for _ in range(5)]
    for caller in callers[:2]:
        looking.note_caller(name_of(caller))
    looking.look(0.0)
    assert looking.look(FAR) == 1
    # Those who are known, and two more of the same address.
    assert [is_closed(caller) for caller in callers].count(False) == 4
    assert not any(is_closed(caller) for caller in callers[:2])


def test_connections_to_other_ports_are_left_alone(
    listener: Listener, looking: GrpcConnections
) -> None:
    with ExitStack() as stack:
        # Another family might give it the very same port.
        other = Listener(stack, listener.host)
        callers = [other.connected() for _ in range(5)]
        looking.look(0.0)
        assert looking.look(FAR) == 0
        assert not any(map(is_closed, callers))


def test_a_port_that_another_uses_after_a_known_caller_is_not_known(
    listener: Listener, looking: GrpcConnections
) -> None:
    """The same address and port, as far as gRPC tells, but another connection."""
    first = listener.connected()
    looking.note_caller(name_of(first))
    port = first.getsockname()[1]
    looking.look(0.0)
    # Without a farewell, so that the port is free at once.
    first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    first.close()
    listener.accepted[0].close()
    again = listener.connected(port)
    fillers = [listener.connected() for _ in range(2)]
    looking.look(0.0)
    assert looking.look(FAR) == 1
    assert [is_closed(caller) for caller in (again, *fillers)].count(True) == 1


@pytest.mark.parametrize(
    "peer", ["", "unix:", "unix:/x", "ipv4:", "ipv4:x", "ipv4:x:y", "vsock:1:2"]
)
def test_a_peer_of_another_kind_is_ignored(
    listener: Listener, looking: GrpcConnections, peer: str
) -> None:
    looking.note_caller(peer)
    assert looking.look(0.0) == 0
