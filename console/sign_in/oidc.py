"""Sign-in at an OpenID provider: authorization code with PKCE (RFC 7636), done by Authlib.

The access token is what the console forwards, so it must be a JWT for the gateway, and bound to
the console's client certificate (RFC 8705).
"""

import hmac
import secrets
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import jwt
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import OAuth2Client
from httpx2 import BaseTransport, HTTPError, Request, Response, TransportError

from console.config import OidcSettings
from sealgate.network.bounded_http import HttpExchange
from sealgate.settings import ConfigError

_SECONDS = 10.0
_LARGEST_ANSWER = 256 * 1024
_ALGORITHMS = ["ES256", "EdDSA", "RS256"]
_LEEWAY = 10
_LOGIN_SECONDS = 600.0
MOST = 1_000
"""Sign-ins that have begun at a time; the oldest makes room."""


class SignInFailed(Exception):
    """The provider's answer is not accepted; the text says why."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A person who signed in, as a policy names them, with the token of their calls, and when it
    expires.
    """

    identity: str
    token: str
    expires: float


@dataclass(frozen=True, slots=True)
class BegunSignIn:
    """The values that must come back from the provider unchanged, or are needed when they do."""

    state: str
    nonce: str
    verifier: str
    begun: float


class OidcSignIn:
    """Sign-ins at one provider. Sign-ins that have begun are kept here, under a number in the
    browser.
    """

    def __init__(
        self,
        settings: OidcSettings,
        redirect: str,
        certificate: tuple[str, str],
        thumbprint: str,
        clock: Callable[[], float],
    ) -> None:
        """`certificate` are the files of the console's client certificate and key."""
        self._settings = settings
        self._redirect = redirect
        self._certificate = certificate
        self._thumbprint = thumbprint
        self._clock = clock
        self._lock = threading.Lock()
        self._begun: dict[str, BegunSignIn] = {}
        self._secret = _secret(settings)
        self._tls = _tls(settings, certificate)

    def begin(self) -> tuple[str, str]:
        """Return the URL to send the browser to, and the number for its cookie."""
        begun = BegunSignIn(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            begun=self._clock(),
        )
        with self._client() as client:
            place = self._metadata(client)["authorization_endpoint"]
            url, _ = client.create_authorization_url(
                place, state=begun.state, nonce=begun.nonce, code_verifier=begun.verifier
            )
        number = secrets.token_urlsafe(32)
        with self._lock:
            while len(self._begun) >= MOST:
                del self._begun[next(iter(self._begun))]
            self._begun[number] = begun
        return str(url), number

    def finish(self, number: str, query: Mapping[str, str]) -> SignedIn:
        """Exchange the code that the browser brings back.

        1. The browser began this sign-in, less than ten minutes ago, and it is used once.
        2. The state is the one it was sent with, and the answer names the issuer, if any.
        3. The provider gives tokens for the code.
        4. The id token is signed by the provider, for this console and this sign-in.
        5. The access token is a JWT of the same person, bound to the console's certificate.

        Raises: SignInFailed.
        """
        # 1.
        with self._lock:
            begun = self._begun.pop(number, None)
        if begun is None or self._clock() >= begun.begun + _LOGIN_SECONDS:
            raise SignInFailed("this sign-in was not begun here, or took too long")
        # 2.
        if not hmac.compare_digest(query.get("state", "").encode(), begun.state.encode()):
            raise SignInFailed("the answer belongs to another sign-in")
        if query.get("iss", self._settings.issuer) != self._settings.issuer:
            raise SignInFailed("the answer is another provider's")
        if "code" not in query:
            raise SignInFailed("the provider did not sign you in")
        try:
            with self._client() as client:
                metadata = self._metadata(client)
                # 3.
                tokens = client.fetch_token(
                    metadata["token_endpoint"], code=query["code"], code_verifier=begun.verifier
                )
                keys = self._get(client, metadata["jwks_uri"])
        except (HTTPError, AuthlibBaseError, ValueError, RecursionError) as error:
            raise SignInFailed("the provider did not accept the sign-in") from error
        # 4.
        claims = self._read(tokens.get("id_token", ""), keys, self._settings.client_id)
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), begun.nonce.encode()):
            raise SignInFailed("the id token belongs to another sign-in")
        # 5.
        return self._bound(str(tokens.get("access_token", "")), keys, str(claims["sub"]))

    def _bound(self, token: str, keys: jwt.PyJWKSet, subject: str) -> SignedIn:
        claims = self._read(token, keys, None)
        if claims["sub"] != subject:
            raise SignInFailed("id token and access token are of different people")
        confirmation = claims.get("cnf", {})
        bound = isinstance(confirmation, dict) and hmac.compare_digest(
            str(confirmation.get("x5t#S256", "")).encode(), self._thumbprint.encode()
        )
        if not bound and ("cnf" in claims or not self._settings.unsafe_unbound_tokens):
            raise SignInFailed("the access token is not bound to the console's certificate")
        return SignedIn(f"jwt:{claims['iss']} {claims['sub']}", token, float(claims["exp"]))

    def _read(self, token: str, keys: jwt.PyJWKSet, audience: str | None) -> dict[str, Any]:
        try:
            key = _key(keys, jwt.get_unverified_header(token).get("kid"))
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                issuer=self._settings.issuer,
                audience=audience,
                leeway=_LEEWAY,
                options={"require": ["exp", "iss", "sub"], "verify_aud": audience is not None},
            )
        except jwt.PyJWTError as error:
            raise SignInFailed(f"a token of the provider's is not accepted: {error}") from error
        return claims

    def _metadata(self, client: OAuth2Client) -> dict[str, Any]:
        try:
            place = f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration"
            found = client.request("GET", place, withhold_token=True).raise_for_status().json()
        except (HTTPError, ValueError, RecursionError) as error:
            raise SignInFailed("the provider cannot be reached") from error
        wanted = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        found = found if isinstance(found, dict) else {}
        # Where the client's certificate is asked for, if that is elsewhere (RFC 8705, section 5).
        aliases = found.get("mtls_endpoint_aliases")
        if isinstance(aliases, dict) and "token_endpoint" in aliases:
            found["token_endpoint"] = aliases["token_endpoint"]
        if found.get("issuer") != self._settings.issuer or any(
            not str(found.get(name, "")).startswith("https://") for name in wanted
        ):
            raise SignInFailed("the provider's description of itself is not accepted")
        return found

    def _get(self, client: OAuth2Client, place: str) -> jwt.PyJWKSet:
        try:
            document = client.request("GET", place, withhold_token=True).raise_for_status().json()
            return jwt.PyJWKSet.from_dict(document if isinstance(document, dict) else {})
        except jwt.PyJWTError as error:
            raise SignInFailed("the provider has no usable keys") from error

    def _client(self) -> OAuth2Client:
        method = "client_secret_basic" if self._secret else "none"
        return OAuth2Client(
            self._settings.client_id,
            self._secret,
            token_endpoint_auth_method=method,
            scope=self._settings.scope,
            redirect_uri=self._redirect,
            code_challenge_method="S256",
            transport=BoundedTransport(self._tls),
            trust_env=False,
            follow_redirects=False,
        )


class BoundedTransport(BaseTransport):
    """Requests to the provider, each of ten seconds in all and with 256 KiB of answer at most.

    Answers are not decompressed, and their headers are left out.
    """

    def __init__(
        self, context: ssl.SSLContext, seconds: float = _SECONDS, largest: int = _LARGEST_ANSWER
    ) -> None:
        self._context = context
        self._seconds = seconds
        self._largest = largest

    def handle_request(self, request: Request) -> Response:
        """Raises: TransportError."""
        exchange = HttpExchange(
            urlsplit(str(request.url)),
            self._context,
            request.method,
            request.url.raw_path.decode(),
            self._largest,
            self._seconds,
            {**request.headers, "accept-encoding": "identity", "connection": "close"},
            request.read() or None,
        )
        try:
            status, body = exchange.run()
        except (OSError, HTTPException, ValueError) as error:
            raise TransportError(type(error).__name__) from error
        if len(body) > self._largest:
            raise TransportError("the answer is too large")
        return Response(status, content=body)


def _key(keys: jwt.PyJWKSet, kid: str | None) -> jwt.PyJWK:
    for key in keys.keys:
        if key.key_id == kid and key.key_type != "oct":
            return key
    raise jwt.InvalidKeyError("signed with a key that the provider does not show")


def _secret(settings: OidcSettings) -> str | None:
    if settings.client_secret is None:
        return None
    try:
        return settings.client_secret.read_text().strip()
    except OSError as error:
        raise ConfigError(f"[oidc] client_secret: {error.strerror}") from error


def _tls(settings: OidcSettings, certificate: tuple[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.authority)
        context.load_cert_chain(*certificate)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"[oidc] authority or [gateway] certificate: {error}") from error
    return context
