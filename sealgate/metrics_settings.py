"""The section `[metrics]`: where a gateway, or an engine, shows its numbers and its health."""

from dataclasses import dataclass

from sealgate.settings import ConfigError, is_loopback


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """`listen`: host:port, of this machine alone; without it nothing listens. It asks nobody who
    they are and has no TLS, so another address needs `insecure_beyond_loopback = true` beside it.
    """

    listen: str = ""
    insecure_beyond_loopback: bool = False

    def __post_init__(self) -> None:
        if not self.listen:
            if self.insecure_beyond_loopback:
                raise ConfigError("[metrics] insecure_beyond_loopback needs listen")
            return
        port = self.listen.rpartition(":")[2]
        if not (self.host and port.isascii() and port.isdecimal() and int(port) < 1 << 16):
            raise ConfigError(f"[metrics] listen = {self.listen!r} is not of the form host:port")
        if not (is_loopback(self.listen) or self.insecure_beyond_loopback):
            raise ConfigError(
                f"[metrics] listen = {self.listen!r} would show which models there are and how "
                "they fare to whoever reaches it; use 127.0.0.1, or, where only your own "
                "Prometheus does, add insecure_beyond_loopback = true"
            )

    @property
    def host(self) -> str:
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.listen.rpartition(":")[2])
