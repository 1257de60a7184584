"""Where language models run: the section `[generator]`."""

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gateway.credentials.fetch import check_address
from gateway.engine_settings import EngineSettings
from inference.openai.server import OpenAiServer
from sealgate.reasons import Refusal
from sealgate.settings import ConfigError
from sealgate.trust.keys import read_private_file

OPENAI = "openai"
_MODEL = re.compile(r"([^{}]|\{model\}|\{version\})+")


@dataclass(frozen=True, slots=True)
class GeneratorSettings(EngineSettings):
    """Our own process, at a unix `socket`, or at an `address` (host:port) with mutual TLS:
    `certificate` is its own, pinned; `client_certificate` and `client_key` are this gateway's,
    which it pins. Or, of the `kind` "openai", any server of OpenAI's protocol, of which neither
    bytes nor tokens can be checked. `name` is what logs and records call either.
    """

    kind: str = ""
    url: str = ""
    """Its base URL, such as `https://models.example/v1`; http on this machine alone."""
    key: Path | None = None
    """A private file with the key that it asks for, sent as bearer."""
    authority: Path | None = None
    """Who signs its certificate (PEM), instead of those whom the system trusts."""
    model: str = "{model}"
    """What the server calls a version: text in which `{model}` and `{version}` stand for ours."""

    def __post_init__(self) -> None:
        EngineSettings.__post_init__(self)
        if self.kind not in ("", OPENAI):
            raise ConfigError(f'[generator] kind = {self.kind!r} is not "openai"')
        if bool(self.kind) != bool(self.url) or (self.kind and self.is_elsewhere):
            raise ConfigError('[generator] takes kind = "openai" with url, or our own process')
        if (self.key or self.authority) and not self.kind:
            raise ConfigError('[generator] key and authority are for kind = "openai"')
        if self.kind:
            self._check_url()
        if not _MODEL.fullmatch(self.model):
            raise ConfigError("[generator] model may hold {model} and {version} alone")

    def server(self) -> OpenAiServer:
        """The server that `url` names. Raises: ConfigError where a file cannot be used."""
        context = None
        try:
            if urlsplit(self.url).scheme == "https":
                authority = str(self.authority) if self.authority else None
                context = ssl.create_default_context(cafile=authority)
            key = read_private_file(self.key).decode("ascii").strip() if self.key else ""
        except Refusal as refusal:
            raise ConfigError(f"{refusal.reason.name}: [generator] key: {refusal.detail}") from None
        except (OSError, ValueError) as error:
            raise ConfigError(f"[generator] cannot be used: {type(error).__name__}") from error
        if not key.isprintable() or " " in key:
            raise ConfigError("[generator] key is no single word")
        return OpenAiServer(urlsplit(self.url.rstrip("/")), key, context)

    def _check_url(self) -> None:
        try:
            parts = check_address(self.url, insecure_loopback=True)
        except Refusal:
            raise ConfigError(
                f"[generator] url = {self.url!r} is neither https nor http on this machine"
            ) from None
        if parts.query:
            raise ConfigError("[generator] url has a query")
