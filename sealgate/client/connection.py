"""`sealgate.connect` and `sealgate.connect_aio`: build a client from its options."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Required, TypedDict, Unpack

import grpc

from sealgate.client.client import AioClient, Client
from sealgate.client.consistency import ClientMemoryFile, ConsistencyChecker
from sealgate.client.exchange import CallerIdentity, Exchange
from sealgate.client.receipt_check import PinnedRoots
from sealgate.remote import Access, Profile
from sealgate.remote.calls import Retries
from sealgate.remote.connection import CHANNEL_OPTIONS

# PEM, or the path of a file that holds it.
Pem = bytes | str | Path

_SECONDS = 30.0


class Options(TypedDict, total=False):
    """Options of a connection. An option that takes a file's content also takes its path.

    - `root_keys`, `root_threshold`: the pinned keys of the policy's root, and how many of them
      must have signed the first policy.
    - `authority`: who signs the gateway's certificate; default: whom the system trusts.
    - `token`: a bearer token, or a function that is asked for one before each call.
    - `certificate`, `certificate_key`: for mutual TLS.
    - `principal`: the caller's name in the policy, if the credentials do not tell it.
    - `witness`: a file that keeps what was last seen of each log, across runs.
    - `timeout`: what a call may take in seconds, retries and checks included; default 30.
    - `retries`: when a refused call is made again.
    - `unsafe_v1_receipts`: take answers of a gateway too old to record alias, parameters and a
      nonce, none of which is then checked: whoever relays the call can have another version answer,
      or show the answer of five minutes ago again. Default False.
    """

    root_keys: Required[Iterable[Pem]]
    root_threshold: Required[int]
    authority: Pem
    token: str | Callable[[], str]
    certificate: Pem
    certificate_key: Pem
    principal: str
    witness: Path
    timeout: float
    retries: Retries
    unsafe_v1_receipts: bool


def connect(url: str, **options: Unpack[Options]) -> Client:
    """A client of the gateway at `url` (`host:port` or `https://host:port`), always over TLS.

    Nothing is sent yet. Raises ValueError for another kind of address, and SealgateError for root
    keys that are none or a witness's file that is not its own.
    """
    access = _access(url, options)
    channel = grpc.secure_channel(access.endpoint, access.credentials(), CHANNEL_OPTIONS)
    return Client(channel, _exchange(access, options), options.get("timeout", _SECONDS))


def connect_aio(url: str, **options: Unpack[Options]) -> AioClient:
    """Return an asyncio client; options as for `connect`."""
    access = _access(url, options)
    channel = grpc.aio.secure_channel(access.endpoint, access.credentials(), CHANNEL_OPTIONS)
    return AioClient(channel, _exchange(access, options), options.get("timeout", _SECONDS))


def options_of(profile: Profile) -> Options:
    """A profile as options; its `endpoint` is the address."""
    options = Options(
        root_keys=profile.root_keys,
        root_threshold=profile.root_threshold,
        authority=profile.server_authority,
        principal=profile.name,
    )
    if profile.token is not None:
        options["token"] = profile.token.read_text().strip()
    if profile.certificate is not None and profile.certificate_key is not None:
        options["certificate"] = profile.certificate
        options["certificate_key"] = profile.certificate_key
    if profile.witness is not None:
        options["witness"] = profile.witness
    return options


def _access(url: str, options: Options) -> Access:
    scheme, separator, address = url.partition("://")
    if separator and scheme not in ("https", "dns"):
        raise ValueError(f"{url}: a gateway is reached as host:port or https://host:port")
    return Access(
        endpoint=address.rstrip("/") if scheme == "https" else url,
        server_authority=_bytes(options.get("authority")),
        token=options.get("token"),
        certificate=_bytes(options.get("certificate")),
        certificate_key=_bytes(options.get("certificate_key")),
    )


def _exchange(access: Access, options: Options) -> Exchange:
    pems = [(_bytes(key) or b"").decode() for key in options["root_keys"]]
    file = options.get("witness")
    return Exchange(
        PinnedRoots.of(pems, options["root_threshold"]),
        CallerIdentity(options.get("principal"), access.identities),
        ConsistencyChecker(ClientMemoryFile(Path(file)) if file is not None else None),
        options.get("retries", Retries()),
        takes_v1=options.get("unsafe_v1_receipts", False),
    )


def _bytes(pem: Pem | None) -> bytes | None:
    if isinstance(pem, Path):
        return pem.read_bytes()
    return pem.encode() if isinstance(pem, str) else pem
