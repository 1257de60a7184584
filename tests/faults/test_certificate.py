"""The gateway's certificate expires, and is renewed later."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from sealgate.setup.certificates import CertificateAuthority
from tests.support.callers import Callers, newcomer
from tests.support.fault_report import hold, watched
from tests.support.site import Site, until

pytestmark = pytest.mark.long

_TARGET = 2.0
_HOSTS = ("localhost", "127.0.0.1")


def serve(site: Site, lifetime: timedelta) -> None:
    """Have the gateway show a new certificate, whose authority everybody trusts."""
    authority = CertificateAuthority("renewed", datetime.now(UTC), lifetime)
    made = authority.server("gateway", _HOSTS)
    tls = site.house.state / "tls"
    put(tls / "servers.pem", (tls / "servers.pem").read_bytes() + authority.pem)
    put(tls / "gateway.key", made.key)
    put(tls / "gateway.pem", made.certificate)


def put(path: Path, data: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.replace(path)


def test_expires(site: Site) -> None:
    """Who is connected is answered all the time; who comes is not, until there is another."""
    site.gateway.start()
    site.promote(1)
    with watched("certificate expired", site.gateway, _TARGET) as finding:
        with Callers(site.house) as callers:
            callers.await_answers()
            serve(site, timedelta(seconds=4))
            assert newcomer(site.house) == "1"
            until(lambda: newcomer(site.house) is grpc.StatusCode.UNAVAILABLE)
            callers.await_answers()
            serve(site, timedelta(days=1))
            finding.recovery = until(lambda: newcomer(site.house) == "1")
            callers.await_answers()
        hold(finding, site.house, callers, {"1"})
    assert not callers.failures
