"""Format scan: evidence that a version's files hold only plain data and plain operators.

Registration and loading check this again, by the same rules, whatever the report says. The report
shows an approver what passed.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from publishing.serialization import parse_model
from registry.formats.format_check import check_file
from sealgate.trust.canonical import sha256


def format_scan(files: Mapping[str, bytes]) -> dict[str, Any]:
    """By name, each file's digest, and what a graph is made of.

    Raises: FORMAT_REFUSED, EXTERNAL_DATA (see `registry.formats.format_check`).
    """
    return {"files": {name: _describe(name, data) for name, data in sorted(files.items())}}


def _describe(name: str, data: bytes) -> dict[str, Any]:
    check_file(name, data)
    described: dict[str, Any] = {"digest": sha256(data), "format": name.rpartition(".")[2]}
    if not name.endswith(".onnx"):
        return described
    model = parse_model(data)
    operators = Counter(f"{node.domain or 'ai.onnx'}:{node.op_type}" for node in model.graph.node)
    return described | {
        "external_data": False,
        "initializers": len(model.graph.initializer),
        "operators": dict(sorted(operators.items())),
        "opsets": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
    }
