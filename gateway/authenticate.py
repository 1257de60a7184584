"""Who is calling: a bearer token, a client certificate, or both for one and the same principal."""

import grpc

from gateway.tokens import TokenVerifier
from sealgate.reasons import Reason, Refusal
from sealgate.trust.policy import Policy, Principal

_SCHEME = "bearer "


class CallAuthenticator:
    """Turns a call's credentials into a principal of the policy.

    Metadata that claims an identity in any other way is not read at all.
    """

    def __init__(self, tokens: TokenVerifier) -> None:
        self._tokens = tokens

    def principal(self, context: grpc.ServicerContext, policy: Policy) -> Principal:
        """Raises: CREDENTIAL_MISSING, CREDENTIAL_AMBIGUOUS, PRINCIPAL_UNKNOWN, TOKEN_ reasons."""
        identities = []
        certificate = _certificate_identity(context)
        if certificate is not None:
            identities.append(certificate)
        token = _bearer_token(context)
        if token is not None:
            identities.append(self._tokens.identity(token))
        if not identities:
            raise Refusal(Reason.CREDENTIAL_MISSING)
        principals = {_lookup(policy, identity).name: identity for identity in identities}
        if len(principals) > 1:
            raise Refusal(Reason.CREDENTIAL_AMBIGUOUS, "token and certificate differ")
        return _lookup(policy, identities[0])


def _lookup(policy: Policy, identity: str) -> Principal:
    principal = policy.by_identity(identity)
    if principal is None:
        raise Refusal(Reason.PRINCIPAL_UNKNOWN)
    return principal


def _certificate_identity(context: grpc.ServicerContext) -> str | None:
    """`mtls:<common name>` of a client certificate that the TLS handshake has verified."""
    names = context.auth_context().get("x509_common_name")
    if not names:
        return None
    if len(names) > 1:
        raise Refusal(Reason.CREDENTIAL_AMBIGUOUS, "certificate with several common names")
    return f"mtls:{bytes(names[0]).decode('utf-8', 'replace')}"


def _bearer_token(context: grpc.ServicerContext) -> str | None:
    values = [value for key, value in context.invocation_metadata() if key == "authorization"]
    if not values:
        return None
    if len(values) > 1:
        raise Refusal(Reason.CREDENTIAL_AMBIGUOUS, "several authorization values")
    value = values[0]
    if not isinstance(value, str) or not value.lower().startswith(_SCHEME):
        raise Refusal(Reason.TOKEN_MALFORMED, "not a bearer credential")
    return value[len(_SCHEME) :]
