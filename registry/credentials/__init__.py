"""API keys."""

from registry.credentials.api_keys import ApiKeyRecord, ApiKeys

__all__ = [
    "ApiKeyRecord",
    "ApiKeys",
]
