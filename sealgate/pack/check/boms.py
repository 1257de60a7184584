"""Checks every bill of materials of this pack with CycloneDX's strict schema.

    python3 check/boms.py

Run it in the pack's folder. It needs `cyclonedx-python-lib[json-validation]`.
"""

import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

validator = JsonStrictValidator(SchemaVersion.V1_6)
for path in sorted(Path("models").glob("*/versions/*/mlbom.json")):
    try:
        text = path.read_text(encoding="utf-8")
        found = validator.validate_str(text)
    except ValueError as error:
        sys.exit(f"{path}: {error}")
    if found is not None:
        sys.exit(f"{path}: {found!r}")
    if '"machine-learning-model"' not in text or '"modelCard"' not in text:
        sys.exit(f"{path}: has no model card")
    print(f"{path}: valid CycloneDX 1.6, with a model card")
