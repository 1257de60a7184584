"""Judges OCSF events by OCSF's own schema, as the package `ocsf-json-schema` derives it.

Both are imported when the first event is judged: jsonschema takes seconds to import, and each of
pytest's workers imports every test.
"""

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator


@functools.cache
def _validator(version: str, class_uid: int, profiles: tuple[str, ...]) -> "Draft202012Validator":
    from jsonschema import Draft202012Validator
    from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

    schemas = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=version))
    name = schemas.lookup_class_name_from_uid(class_uid=class_uid)
    return Draft202012Validator(schemas.get_class_schema(class_name=name, profiles=[*profiles]))


def errors(event: dict[str, Any]) -> list[str]:
    """The errors by the schema of the event's own version, class and profiles."""
    metadata = event["metadata"]
    profiles = tuple(metadata.get("profiles", ()))
    validator = _validator(metadata["version"], event["class_uid"], profiles)
    found = [f"{'/'.join(map(str, e.path))}: {e.message}" for e in validator.iter_errors(event)]
    if event["type_uid"] != event["class_uid"] * 100 + event["activity_id"]:
        found.append("type_uid: it is not class_uid * 100 + activity_id")
    return found
