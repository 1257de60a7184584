"""The credentials' service: API keys, and tokens that are bound to the caller's certificate."""

import re

from gateway.auth import KeyTable, TokenExchange
from gateway.calls.call import Call
from gateway.services.registry_messages import asked, once
from registry.credentials import ApiKeyRecord
from registry.registry import Registry
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.keys.webauthn import Assertion
from sealgate.trust.times import format_time, parse_time
from sealgate.v1 import credential_pb2 as messages
from sealgate.v1.credential_pb2_grpc import CredentialServiceServicer

_NAME = re.compile(r"api-keys/([0-9a-f]{12})", re.ASCII)
_NOT_RECORDED = frozenset(
    {Reason.RECORD_FAILED, Reason.LOG_INCONSISTENT, Reason.REGISTRY_UNAVAILABLE}
)


class CredentialService(CredentialServiceServicer):
    """`AuthInterceptor` has admitted each call: its principal may use the method."""

    def __init__(self, registry: Registry, table: KeyTable, exchange: TokenExchange) -> None:
        self._registry = registry
        self._table = table
        self._exchange = exchange

    def CreateApiKey(
        self, request: messages.CreateApiKeyRequest, call: Call
    ) -> messages.CreateApiKeyResponse:
        expires = parse_time(request.expire_time)
        key = self._table.maker.make(request.holder, expires)
        record = self._registry.api_keys.create(
            call.principal.name,
            key.key_id,
            request.holder,
            request.label,
            expires,
            key.digest,
            once(request),
        )
        # The key works as soon as its caller has this answer.
        self._table.follow()
        # A repeated request is shown the key that it made, whose secret nobody has kept.
        secret = key.text if record.key_id == key.key_id else ""
        return messages.CreateApiKeyResponse(api_key=_api_key(record), secret=secret)

    def ListApiKeys(
        self, request: messages.ListApiKeysRequest, call: Call
    ) -> messages.ListApiKeysResponse:
        page = self._registry.api_keys.list(asked(request)).map(_api_key)
        return messages.ListApiKeysResponse(
            api_keys=page.records, next_page_token=page.next_page_token
        )

    def RevokeApiKey(
        self, request: messages.RevokeApiKeyRequest, call: Call
    ) -> messages.RevokeApiKeyResponse:
        found = _NAME.fullmatch(request.name)
        if found is None:
            raise SealgateError(Reason.NAME_MALFORMED, "not api-keys/{id}")
        try:
            record = self._registry.api_keys.revoke(
                call.principal.name, found[1], request.reason, once(request)
            )
            # The caller may rely on it as soon as they have this answer.
            self._table.follow()
        except SealgateError as refusal:
            if refusal.reason in _NOT_RECORDED:
                # The caller learns that it failed; the key passes here no more all the same.
                self._table.block(found[1])
            raise
        return messages.RevokeApiKeyResponse(api_key=_api_key(record))

    def CreateLoginChallenge(
        self, request: messages.CreateLoginChallengeRequest, call: Call
    ) -> messages.CreateLoginChallengeResponse:
        challenge, end = self._exchange.challenge(call.context)
        return messages.CreateLoginChallengeResponse(
            challenge=challenge, expire_time=format_time(end)
        )

    def CreateBoundToken(
        self, request: messages.CreateBoundTokenRequest, call: Call
    ) -> messages.CreateBoundTokenResponse:
        match request.WhichOneof("credential"):
            case "assertion":
                said = request.assertion
                assertion = Assertion(
                    said.authenticator_data, said.client_data_json, said.signature
                )
                token = self._exchange.by_passkey(
                    call.context, said.key_id, said.challenge, assertion
                )
            case "token":
                token = self._exchange.by_token(call.context, request.token)
            case _:
                raise SealgateError(Reason.CREDENTIAL_MISSING)
        return messages.CreateBoundTokenResponse(
            token=token.text, principal=token.principal, expire_time=format_time(token.expires)
        )


def _api_key(record: ApiKeyRecord) -> messages.ApiKey:
    return messages.ApiKey(
        name=f"api-keys/{record.key_id}",
        holder=record.holder,
        label=record.label,
        creator=record.creator,
        create_time=record.time,
        expire_time=record.expires,
        revoke_time=record.revoked,
        revoker=record.revoker,
        revocation_reason=record.reason,
    )
