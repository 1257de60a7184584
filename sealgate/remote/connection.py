"""A gRPC channel to a gateway: TLS, the caller's credential, and the errors that come back."""

import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import jwt
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from sealgate.reasons import Reason
from sealgate.trust.keys import PublicKey
from sealgate.trust.keys.certificate_identity import certificate_identity
from sealgate.trust.keys.pkcs11_uri import is_key_uri

_DOMAIN = "sealgate"
# As google.rpc.ErrorInfo has it.
_REASON_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,62}")
_LARGEST_MESSAGE = 64 * 1024 * 1024

# Where the receipt of a refusal travels.
RECEIPT_METADATA = "sealgate-receipt-bin"
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
    ("grpc.max_send_message_length", _LARGEST_MESSAGE),
    # A gateway that restarts is found again soon; the default grows to two minutes.
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


class ProfileError(Exception):
    """A profile is unusable; the text says what to change."""


@dataclass(frozen=True, slots=True)
class Access:
    """A gateway's address and the caller's credentials; certificates and keys are PEM.

    `server_authority` signs the gateway's certificate; None: any authority that the system
    trusts. `token` is a bearer token, or is asked for one before each call.
    """

    endpoint: str
    server_authority: bytes | None = None
    token: str | Callable[[], str] | None = None
    certificate: bytes | None = None
    certificate_key: bytes | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """TLS, mutual where there is a certificate, with the token on each call."""
        credentials = grpc.ssl_channel_credentials(
            self.server_authority, self.certificate_key, self.certificate
        )
        if self.token is None:
            return credentials
        bearer = (
            grpc.access_token_call_credentials(self.token)
            if isinstance(self.token, str)
            else grpc.metadata_call_credentials(_AskedToken(self.token))
        )
        return grpc.composite_channel_credentials(credentials, bearer)

    def identities(self) -> tuple[str, ...]:
        """The identities by which the policy may know the caller: certificate, token, or both.

        Nothing is verified: the caller's own credentials are read, not another's. Raises:
        CREDENTIAL_AMBIGUOUS, CERTIFICATE_MALFORMED for a certificate that no gateway accepts.
        """
        found = [] if self.certificate is None else _named_by(self.certificate)
        if self.token is not None:
            token = self.token if isinstance(self.token, str) else self.token()
            try:
                claims = jwt.decode(token, options={"verify_signature": False})
                found.append(f"jwt:{claims['iss']} {claims['sub']}")
            except (jwt.InvalidTokenError, KeyError):
                # Some tokens tell nothing to those who hold them.
                pass
        return tuple(found)


def _named_by(certificate: bytes) -> list[str]:
    """Return the identity in a certificate, as the gateway reads it. Raises like
    `certificate_identity`.
    """
    read = x509.load_pem_x509_certificate(certificate)
    identity = certificate_identity(read.public_bytes(Encoding.DER))
    return [] if identity is None else [identity]


class _AskedToken(grpc.AuthMetadataPlugin):
    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def __call__(
        self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback
    ) -> None:
        callback((("authorization", f"Bearer {self._token()}"),), None)


@dataclass(frozen=True, slots=True)
class Profile:
    """A person's settings on their own machine: endpoint, credential, keys and pinned root keys.

    The credential is a token or a certificate. Signing keys are files or `pkcs11:` URIs.
    """

    name: str
    """The principal's name in the policy."""
    endpoint: str
    """The gateway, host:port."""
    server_authority: Path
    """The authority that signs the gateway's certificate (PEM)."""
    root_keys: tuple[Path, ...]
    """The pinned public keys of the policy's roots (PEM)."""
    root_threshold: int
    """How many root keys must have signed a policy."""
    token: Path | None = None
    """A file with a bearer token or an API key."""
    certificate: Path | None = None
    """The person's client certificate (PEM)."""
    certificate_key: Path | None = None
    """The private key of the certificate (PEM)."""
    signing_key: Path | str | None = None
    """The key with which the person signs statements."""
    model_signing_key: Path | str | None = None
    """The P-256 key with which a publisher signs models' files."""
    watermark_keys: Path | None = None
    """A publisher's folder of watermark keys."""
    outbox: Path | None = None
    """A publisher's folder of versions that are not registered yet."""
    witness: Path | None = None
    """A file that remembers the newest checkpoint of each log."""

    @classmethod
    def read(cls, path: Path) -> "Profile":
        """Raises: ProfileError."""
        try:
            table = tomllib.loads(path.read_text())
        except OSError as error:
            raise ProfileError(f"cannot read {path}: {error.strerror}") from None
        except tomllib.TOMLDecodeError as error:
            raise ProfileError(f"{path} is not TOML: {error}") from None
        folder = path.parent
        plain = {"name", "endpoint", "root_threshold"}
        values: dict[str, Any] = {
            key: value
            if key in plain or is_key_uri(value)
            else tuple(folder / item for item in value)
            if key == "root_keys"
            else folder / value
            for key, value in table.items()
        }
        try:
            return cls(**values)
        except TypeError as error:
            raise ProfileError(f"{path}: {str(error).partition('() ')[2]}") from None

    def pinned_roots(self) -> dict[str, PublicKey]:
        """The pinned root keys by key id."""
        keys = [PublicKey.from_pem(path.read_text()) for path in self.root_keys]
        return {key.keyid: key for key in keys}


def access_of(profile: Profile) -> Access:
    """Reads the profile's credential."""
    return Access(
        endpoint=profile.endpoint,
        server_authority=profile.server_authority.read_bytes(),
        token=profile.token.read_text().strip() if profile.token else None,
        certificate=profile.certificate.read_bytes() if profile.certificate else None,
        certificate_key=profile.certificate_key.read_bytes() if profile.certificate_key else None,
    )


def connect(profile: Profile) -> grpc.Channel:
    """Opens a TLS channel that carries the profile's credential."""
    access = access_of(profile)
    return grpc.secure_channel(access.endpoint, access.credentials(), CHANNEL_OPTIONS)


def reason_of(error: grpc.RpcError) -> Reason | None:
    """The reason that the gateway gave, or None where the call failed on its way.

    REASON_UNKNOWN for one that this release does not have; see `reason_name_of`.
    """
    info = _info_of(error)
    return None if info is None else Reason.named(info.reason)


def reason_name_of(error: grpc.RpcError) -> str:
    """The name of the reason that the gateway gave, known here or not; "" without a name."""
    info = _info_of(error)
    return info.reason if info is not None and _REASON_NAME.fullmatch(info.reason) else ""


def facts_of(error: grpc.RpcError) -> dict[str, str]:
    """Return the metadata that the gateway sent with its reason."""
    info = _info_of(error)
    return {} if info is None else dict(info.metadata)


def retry_after_of(error: grpc.RpcError) -> float | None:
    """In how many seconds to try again, where the gateway said that."""
    for info in _details(error, error_details_pb2.RetryInfo):
        delay = info.retry_delay
        return max(0.0, float(delay.seconds) + delay.nanos / 1e9)
    return None


def _info_of(error: grpc.RpcError) -> Any:
    for info in _details(error, error_details_pb2.ErrorInfo):
        if info.domain == _DOMAIN:
            return info
    return None


def _details(error: grpc.RpcError, kind: Callable[[], Any]) -> Iterator[Any]:
    """The details of one kind that came with a failure; what cannot be read says nothing."""
    status = status_of(error)
    for detail in status.details if status is not None else ():
        info = kind()
        with suppress(DecodeError):
            if detail.Unpack(info):
                yield info


def status_of(error: grpc.RpcError) -> Any:
    """The google.rpc.Status of a failed call, of either API of gRPC; None without a valid one."""
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        return None
    try:
        return rpc_status.from_call(error)
    except (ValueError, DecodeError):
        # It contradicts the status that it travels with, or is none at all.
        return None


class CallDetails(NamedTuple):
    """The details of a call as gRPC passes them to interceptors; see `grpc.ClientCallDetails`."""

    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: bool | None
    compression: Any

    @classmethod
    def of(cls, details: Any, **changes: Any) -> "CallDetails":
        return cls(*(getattr(details, name) for name in cls._fields))._replace(**changes)
