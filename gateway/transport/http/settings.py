"""The settings of the section `[http]`: where the protocol is spoken without gRPC."""

from dataclasses import dataclass

from sealgate.settings import ConfigError, is_loopback


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Addresses, `host:port`; without one nothing listens."""

    tls: str = ""
    """With TLS. Where `[tls]` has a `client_authority`, callers are asked for a certificate; those
    with a token or an API key need none.
    """
    insecure: str = ""
    """Without TLS, on this machine alone."""

    def __post_init__(self) -> None:
        for address in filter(None, (self.tls, self.insecure)):
            host, port = place(address)
            if not (host and port.isascii() and port.isdecimal() and int(port) < 1 << 16):
                raise ConfigError(f"[http] {address!r} is not of the form host:port")
        if self.insecure and not is_loopback(self.insecure):
            raise ConfigError(
                f"[http] insecure = {self.insecure!r} would serve without TLS beyond this "
                "machine; move the address to tls (with [tls] certificate and key), or "
                "use 127.0.0.1"
            )

    def check(self, pair: bool, certificates: bool, bearers: bool) -> None:
        """Holds the addresses against what else is configured: the server's certificate and key,
        an authority for certificates, and whoever vouches for bearer credentials.

        Raises: ConfigError.
        """
        if self.tls and not pair:
            raise ConfigError("[tls] certificate and key are needed for [http] tls")
        if (self.insecure and not bearers) or (self.tls and not (bearers or certificates)):
            raise ConfigError(
                "[[tokens]] is empty and [api_keys] has no mac_key, so nobody could authenticate "
                "on [http]"
            )


def place(address: str) -> tuple[str, str]:
    """Host, without the brackets of IPv6, and port."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), port
