"""The section `[security_events]`: where a SIEM takes security events from."""

from dataclasses import dataclass
from pathlib import Path

from sealgate.settings import ConfigError


@dataclass(frozen=True, slots=True)
class SecurityEventSettings:
    """Security events as OCSF, one JSON object each; without `file` and `syslog` there are none."""

    file: Path | None = None
    """A file that events are appended to, a line each. It may be renamed while it is written."""
    syslog: str = ""
    """A syslog server, host:port, that takes events over TLS (RFC 5425)."""
    authority: Path | None = None
    """The authorities (PEM) that the syslog server's certificate must come from; by default the
    system's.
    """
    certificate: Path | None = None
    """The certificate (PEM) that the syslog server is shown, if it asks for one."""
    key: Path | None = None
    """The private key of `certificate`."""
    window: float = 60.0
    """For how many seconds events that are alike are counted before the next line tells of them.
    The first is told at once.
    """

    def __post_init__(self) -> None:
        if self.file and self.syslog:
            raise ConfigError("[security_events] takes either file or syslog")
        if self.syslog:
            host, _, port = self.syslog.rpartition(":")
            if not (host and port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16):
                raise ConfigError(
                    f"[security_events] syslog = {self.syslog!r} is not of the form host:port"
                )
        elif self.authority or self.certificate or self.key:
            raise ConfigError("[security_events] authority, certificate and key need syslog")
        if bool(self.certificate) != bool(self.key):
            raise ConfigError("[security_events] certificate and key belong together")
