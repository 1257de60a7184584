"""CycloneDX's own check of bills of materials."""

from typing import Any

from sealgate.trust import canonical


def is_valid_bill(document: dict[str, Any]) -> bool:
    """Whether the document is strictly valid by CycloneDX 1.6's schema."""
    # Not above: its grammars of addresses take two seconds of each process that collects tests.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = canonical.encode(document).decode()
    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
