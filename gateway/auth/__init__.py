"""Authentication and authorization: credentials, principals, rights, method rules."""

from gateway.auth.api_keys import KeyTable
from gateway.auth.authenticate import (
    BurstAuthenticator,
    CallAuthenticator,
    KeysAwaitedError,
    TokenAuthenticator,
    TokenExchange,
)
from gateway.auth.certificates import PEM_PROPERTY
from gateway.auth.interceptor import Authenticator, AuthInterceptor
from gateway.auth.method_rules import ANYONE, RULES, Rights, unverified

__all__ = [
    "ANYONE",
    "PEM_PROPERTY",
    "RULES",
    "AuthInterceptor",
    "Authenticator",
    "BurstAuthenticator",
    "CallAuthenticator",
    "KeyTable",
    "KeysAwaitedError",
    "Rights",
    "TokenAuthenticator",
    "TokenExchange",
    "unverified",
]
