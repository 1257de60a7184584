"""Creates a new installation in a folder: keys, certificates, first policy, configuration.

One folder stands for several machines here, so that a first day needs only one: `roots/` and
`authorities/` belong offline, each folder of `people/` on that person's machine, the rest on the
gateway's.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sealgate.setup import configuration
from sealgate.setup.configuration import CLIENT, CONSOLE, SERVER, EnginePlace
from sealgate.setup.configuration import NAME as ENGINE
from sealgate.setup.credentials import (
    ISSUER,
    CertificateAuthority,
    key_set,
    mint_token,
    new_issuer_key,
)
from sealgate.setup.people import (
    CERTIFICATE_LIFETIME,
    POLICY_LIFETIME,
    SERVER_LIFETIME,
    InstalledPerson,
    PersonFolder,
)
from sealgate.trust import canonical, dsse
from sealgate.trust.keys import PrivateKey, write_private_file
from sealgate.trust.policy import (
    CANARY_ALIAS,
    DEFAULT_ALIAS,
    SHADOW_ALIAS,
    WILDCARD,
    Consequence,
    EvidenceRules,
    Policy,
    ScreeningRules,
    SessionRules,
)
from sealgate.trust.times import format_time
from sealgate.trust.transparency import ml_dsa, note
from sealgate.trust.transparency.ml_dsa import MlDsaKey

_AUTHORITY_LIFETIME = timedelta(days=3650)
_TOKEN_LIFETIME = timedelta(hours=12)
_ROOTS = ("root-1", "root-2", "root-3")
_ROOT_THRESHOLD = 2
_SESSION_SECONDS = 3600
_MAC_KEY_BYTES = 32
# The evidence that `sealgate model publish` makes for every version; a proposal must carry it.
_EVIDENCE = (
    "build-provenance",
    "format-scan",
    "golden-run",
    "mlbom",
    "screening-report",
    "watermark-check",
)


PEOPLE = (
    InstalledPerson("publisher", "publisher"),
    InstalledPerson("approver-1", "approver"),
    InstalledPerson("approver-2", "approver"),
    InstalledPerson("admin", "admin"),
    InstalledPerson("auditor", "auditor"),
    InstalledPerson("client", "client", by_token=True),
    InstalledPerson("monitor", "monitor", also="client"),
    InstalledPerson("events", "events"),
)


@dataclass(frozen=True, slots=True)
class InstalledScreening:
    """The first policy's rules for screening, for every model. `sessions` is what follows where a
    caller's requests together look like an attack; empty: nobody looks.
    """

    suspect: str = Consequence.LABEL_ONLY
    suspect_hold_ms: int = 100
    sessions: str = Consequence.ALERT

    def policy(self) -> dict[str, Any]:
        """Its sections of the policy."""
        sessions = self.sessions
        rules = SessionRules(sessions, sessions, _SESSION_SECONDS) if sessions else None
        screen = ScreeningRules(suspect_hold_ms=self.suspect_hold_ms, sessions=rules)
        screens = {WILDCARD: screen.to_json()} if screen.to_json() else {}
        verdicts = {"adversarial": Consequence.BLOCK, "suspect": self.suspect}
        return {"screening": verdicts} | ({"screens": screens} if screens else {})


@dataclass(frozen=True, slots=True)
class Ports:
    """The loopback ports: the gateway's for callers with tokens, and for callers with
    certificates, and the console's.
    """

    tls: int = 8443
    mutual: int = 8444
    console: int = 8445


def check_new(folder: Path) -> None:
    """Raises: FileExistsError where the folder already holds something."""
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(folder)


class Installation:
    """Writes the files of one installation below `folder`, which must not exist or be empty."""

    def __init__(
        self,
        folder: Path,
        name: str,
        now: datetime,
        ports: Ports,
        *,
        passphrase: bytes | None,
        engine: EnginePlace | None = None,
        ml_dsa_logs: bool = False,
        screening: InstalledScreening | None = None,
    ) -> None:
        """With an `engine`, it is to run in a process of its own there; with `ml_dsa_logs`, the
        logs sign with ML-DSA-44 keys too. `passphrase` encrypts what roots and people sign with;
        None leaves it open.
        """
        self._screening = screening or InstalledScreening()
        self._folder = folder
        self._name = name
        self._now = now
        self._ports = ports
        self._passphrase = passphrase
        self._engine = engine
        self._beside = (
            {log: MlDsaKey.generate() for log in ("registry-log", "answers")} if ml_dsa_logs else {}
        )
        self._people_keys: dict[str, list[PrivateKey]] = {}

    def make(self) -> None:
        """Raises: FileExistsError where the folder already holds something."""
        check_new(self._folder)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # It holds private keys, and may be made inside somebody's repository.
        self._write(".gitignore", b"*\n")
        roots = [self._persons_key(f"roots/{root}.key") for root in _ROOTS]
        for root, key in zip(_ROOTS, roots, strict=True):
            self._write(f"trust/{root}.pem", key.public.pem.encode())
        service = {
            name: self._key(f"keys/{name}.key") for name in ("registry-log", "answers", "freshness")
        }
        for name in service:
            # The one that follows: `sealgate key rotate`.
            self._key(f"keys/{name}.next.key")
        for log, beside in self._beside.items():
            self._write(f"keys/{log}.ml-dsa.key", beside.to_pem())
        self._write("keys/api-keys.key", secrets.token_bytes(_MAC_KEY_BYTES))
        issuer_key = new_issuer_key()
        self._write("issuer/issuer.key", issuer_key)
        self._write("issuer/jwks.json", key_set(issuer_key))
        callers = self._certificates()
        for person in PEOPLE:
            self._person(person, callers, issuer_key)
        if self._engine is not None:
            service[ENGINE] = self._key(f"keys/{ENGINE}.key")
        self._policy(roots, service)
        configuration = self._configuration()
        for log in self._beside:
            line = f'log_key = "keys/{log}.key"\n'
            second = f'ml_dsa_key = "keys/{log}.ml-dsa.key"\n'
            configuration = configuration.replace(line, line + second)
        if self._engine is not None:
            configuration += self._engine.gateway_section()
            self._engine_room(self._engine)
        self._write("gateway.toml", configuration.encode())
        self._write("console.toml", self._console().encode())

    def _certificates(self) -> CertificateAuthority:
        servers = self._authority("servers", SERVER_LIFETIME)
        callers = self._authority("callers", CERTIFICATE_LIFETIME)
        server = servers.server("gateway", ("localhost", "127.0.0.1", "::1"))
        for kind, authority in (("servers", servers), ("callers", callers)):
            self._write(f"tls/{kind}.pem", authority.pem)
            # People are added and certificates renewed with these: `sealgate person`.
            self._write(f"authorities/{kind}.key", authority.key_pem(self._passphrase))
        self._write("tls/gateway.pem", server.certificate)
        self._write("tls/gateway.key", server.key)
        console = callers.nobody()
        self._write(f"{CONSOLE}.pem", console.certificate)
        self._write(f"{CONSOLE}.key", console.key)
        return callers

    def _authority(self, kind: str, lifetime: timedelta) -> CertificateAuthority:
        name = f"{self._name} {kind}"
        return CertificateAuthority(name, self._now, lifetime, own_lifetime=_AUTHORITY_LIFETIME)

    def _person(
        self, person: InstalledPerson, callers: CertificateAuthority, issuer_key: bytes
    ) -> None:
        home = PersonFolder(self._folder / "people" / person.name, person, self._passphrase)
        common = {
            "endpoint": f"127.0.0.1:{self._ports.tls if person.by_token else self._ports.mutual}",
            "server_authority": "../../tls/servers.pem",
            "root_keys": [f"../../trust/{root}.pem" for root in _ROOTS],
            "root_threshold": _ROOT_THRESHOLD,
        }
        if person.by_token:
            token = mint_token(issuer_key, person.name, self._now, _TOKEN_LIFETIME)
            home.write(common, token=token)
        else:
            home.write(common, callers)
        self._people_keys[person.name] = home.keys

    def _policy(self, roots: list[PrivateKey], service: dict[str, PrivateKey]) -> None:
        # Services whose keys sign what the policy must know them for.
        named = [role for role in ("freshness", ENGINE) if role in service]
        signing = [key for keys in self._people_keys.values() for key in keys]
        every_key = [*roots, *signing, *(service[role] for role in named)]
        document = {
            "type": Policy.TYPE,
            "version": 1,
            "issued": format_time(self._now),
            "expires": format_time(self._now + POLICY_LIFETIME),
            "keys": {key.public.keyid: key.public.pem for key in every_key},
            "root": {
                "keys": sorted(key.public.keyid for key in roots),
                "threshold": _ROOT_THRESHOLD,
            },
            "principals": [*self._people(), *(_service(role, service[role]) for role in named)],
            "promotion": {"approvals": {DEFAULT_ALIAS: 2, CANARY_ALIAS: 1, SHADOW_ALIAS: 1}},
            "evidence": {kind: list(EvidenceRules.MAKERS) for kind in _EVIDENCE},
            **self._screening.policy(),
            "pointer": {"freshness_seconds": 3600, "grace_seconds": 86400},
            "logs": {
                "registry": note.vkey(self._origin("registry"), service["registry-log"].public),
                "answers": [note.vkey(self._origin("answers"), service["answers"].public)],
            },
        }
        if self._beside:
            origins = {"registry-log": self._origin("registry"), "answers": self._origin("answers")}
            document["ml_dsa"] = {
                origins[log]: ml_dsa.vkey(origins[log], key.raw)
                for log, key in self._beside.items()
            }
        envelope = dsse.sign(
            Policy.PAYLOAD_TYPE, canonical.encode(document), *roots[:_ROOT_THRESHOLD]
        )
        self._write("trust/policy.json", envelope.encode())

    def _people(self) -> Iterator[dict[str, Any]]:
        for person in PEOPLE:
            # By a token, people are known in the console.
            known = [f"jwt:{ISSUER} {person.name}"]
            if not person.by_token:
                known.append(f"mtls:{person.name}")
            keys = [key.public.keyid for key in self._people_keys[person.name]]
            yield {"name": person.name, "roles": person.roles, "keys": keys, "identities": known}

    def _engine_room(self, place: EnginePlace) -> None:
        root_keys = [f"trust/{root}.pem" for root in _ROOTS]
        self._write("engine.toml", place.configuration(root_keys, _ROOT_THRESHOLD).encode())
        if place.address:
            # Each is pinned by the other end, so who signed them does not matter.
            authority = self._authority("engine", SERVER_LIFETIME)
            server = authority.server(ENGINE, (ENGINE, place.host))
            for path, made in ((SERVER, server), (CLIENT, authority.caller("gateway"))):
                self._write(f"{path}.pem", made.certificate)
                self._write(f"{path}.key", made.key)
        for folder in ("engine", "artifacts"):
            (self._folder / folder).mkdir(mode=0o700)

    def _configuration(self) -> str:
        return configuration.configuration(
            self._ports.tls,
            self._ports.mutual,
            (self._origin("registry"), self._origin("answers")),
            [f"trust/{root}.pem" for root in _ROOTS],
            _ROOT_THRESHOLD,
        )

    def _console(self) -> str:
        return configuration.console_configuration(
            self._ports.console,
            self._ports.mutual,
            [f"trust/{root}.pem" for root in _ROOTS],
            _ROOT_THRESHOLD,
        )

    def _origin(self, log: str) -> str:
        return f"{self._name}.localhost/{log}"

    def _key(self, path: str) -> PrivateKey:
        """A service's, which starts by itself."""
        key = PrivateKey.generate()
        self._write(path, key.to_pem())
        return key

    def _persons_key(self, path: str) -> PrivateKey:
        key = PrivateKey.generate()
        self._write(path, key.to_pem(self._passphrase))
        return key

    def _write(self, path: str, data: bytes) -> None:
        target = self._folder / path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private_file(target, data)


def _service(role: str, key: PrivateKey) -> dict[str, Any]:
    return {"name": role, "roles": [role], "keys": [key.public.keyid], "identities": []}
