"""Where deliveries may go: each address that must not be reached is refused with its reason."""

import ipaddress
import socket

import pytest

from sealgate.events.config import AddressRefused, checked_addresses, refused

NOT_NAMED = ", and [network] private does not name it"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1", "loopback, and the destination does not say so"),
        ("127.8.8.8", "loopback, and the destination does not say so"),
        ("::1", "loopback, and the destination does not say so"),
        ("::ffff:127.0.0.1", "loopback, and the destination does not say so"),
        ("64:ff9b::7f00:1", "loopback, and the destination does not say so"),
        ("0.0.0.0", "unspecified" + NOT_NAMED),
        ("::", "unspecified" + NOT_NAMED),
        ("10.0.0.1", "private" + NOT_NAMED),
        ("172.16.0.1", "private" + NOT_NAMED),
        ("192.168.1.1", "private" + NOT_NAMED),
        ("::ffff:10.0.0.1", "private" + NOT_NAMED),
        ("64:ff9b::a00:1", "private" + NOT_NAMED),
        ("fd00::1", "private" + NOT_NAMED),
        ("2001::7f00:1", "private" + NOT_NAMED),
        ("255.255.255.255", "private" + NOT_NAMED),
        ("240.0.0.1", "private" + NOT_NAMED),
        ("169.254.1.1", "link-local" + NOT_NAMED),
        ("fe80::1", "link-local" + NOT_NAMED),
        ("224.0.0.1", "multicast" + NOT_NAMED),
        ("ff02::1", "multicast" + NOT_NAMED),
        ("100.64.0.1", "not public" + NOT_NAMED),
        ("192.0.0.8", "not public" + NOT_NAMED),
        ("2002:7f00:1::", "not public" + NOT_NAMED),
        ("::7f00:1", "not public" + NOT_NAMED),
        ("fec0::1", "not public" + NOT_NAMED),
        ("64:ff9b:1::a00:1", "not public" + NOT_NAMED),
        ("169.254.169.254", "a cloud's metadata service"),
        ("::ffff:169.254.169.254", "a cloud's metadata service"),
        ("64:ff9b::a9fe:a9fe", "a cloud's metadata service"),
        ("168.63.129.16", "a cloud's metadata service"),
        ("100.100.100.200", "a cloud's metadata service"),
        ("fd00:ec2::254", "a cloud's metadata service"),
        ("192.0.0.192", "a cloud's metadata service"),
        ("169.254.170.23", "a cloud's metadata service"),
    ],
)
def test_what_is_not_public_is_refused(address, reason):
    assert refused(ipaddress.ip_address(address), ()) == reason


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07::1", "64:ff9b::808:808"])
def test_public_addresses_are_taken(address):
    assert refused(ipaddress.ip_address(address), ()) == ""


def test_a_private_network_is_taken_where_it_is_named():
    named = [ipaddress.ip_network("10.1.0.0/16")]
    assert refused(ipaddress.ip_address("10.1.2.3"), named) == ""
    assert refused(ipaddress.ip_address("10.2.2.3"), named) == "private" + NOT_NAMED


def test_a_metadata_service_is_taken_only_where_it_is_named_by_itself():
    wide = [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("169.254.0.0/16")]
    service = ipaddress.ip_address("169.254.169.254")
    assert refused(service, wide) == "a cloud's metadata service"
    assert refused(service, [ipaddress.ip_network("169.254.169.254/32")]) == ""


@pytest.mark.parametrize("address", ["fd00:ec2::23", "fd00:c1::a9fe:a9fe", "fd00:ec2::254%1"])
def test_naming_private_networks_allows_no_metadata_service(address):
    named = [ipaddress.ip_network("fd00::/8")]
    assert refused(ipaddress.ip_address(address), named) == "a cloud's metadata service"
    assert refused(ipaddress.ip_address("fd00:1::1"), named) == ""


def test_naming_loopback_as_a_network_does_not_allow_it():
    named = [ipaddress.ip_network("127.0.0.0/8")]
    assert "loopback" in refused(ipaddress.ip_address("127.0.0.1"), named)


def test_a_destination_on_this_machine_leads_nowhere_else():
    assert refused(ipaddress.ip_address("127.0.0.1"), (), loopback=True) == ""
    reason = "not loopback, though the destination says so"
    assert refused(ipaddress.ip_address("93.184.215.14"), (), loopback=True) == reason


def names(*addresses):
    return lambda host, port, **_: [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses
    ]


def test_one_address_that_is_not_public_is_enough_to_refuse_a_host():
    both = names("93.184.215.14", "10.0.0.1")
    with pytest.raises(AddressRefused, match=r"hooks\.example\.com is 10\.0\.0\.1: private"):
        checked_addresses("hooks.example.com", 443, (), resolve=both)


def test_all_addresses_of_a_public_host_may_be_tried():
    found = checked_addresses(
        "hooks.example.com", 443, (), resolve=names("93.184.215.14", "1.1.1.1", "1.1.1.1")
    )
    assert found == ["93.184.215.14", "1.1.1.1"]


@pytest.mark.parametrize("spelling", ["0177.0.0.1", "2130706433", "0x7f.1", "127.1"])
def test_other_spellings_of_an_address_are_looked_up_and_then_refused(spelling):
    # The system's own resolver reads them.
    with pytest.raises(AddressRefused, match=r"127\.0\.0\.1: loopback"):
        checked_addresses(spelling, 443, ())
