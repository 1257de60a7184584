"""The protocol's messages as JSON, with the field names of the proto and numbers as numbers.

protobuf's own JSON writes 64-bit integers as strings, which no client of this protocol expects.
"""

from typing import Any

from google.protobuf.message import Message


def plain(message: Message) -> dict[str, Any]:
    """Every field that says something; plain values and lists also where they are empty."""
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if _is_map(field):
            found[field.name] = {key: _mapped(field, value[key]) for key in sorted(value)}
        elif field.is_repeated:
            found[field.name] = [_value(field, each) for each in value]
        elif not field.has_presence or message.HasField(field.name):
            found[field.name] = _value(field, value)
    return found


def _is_map(field: Any) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _mapped(field: Any, value: Any) -> Any:
    return _value(field.message_type.fields_by_name["value"], value)


def _value(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return plain(value)
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    return value
