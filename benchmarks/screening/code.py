"""Which code a figure was measured by: rows of different code are not held beside each other."""

import hashlib
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_NUMBERS = (
    *(
        f"benchmarks/screening/{name}.py"
        for name in (
            *("sources", "subjects", "attacks", "toolbox"),
            *("served", "knowing", "measures"),
        )
    ),
    *(f"publishing/{name}.py" for name in ("calibrate", "probe", "screening_report", "weights")),
    *(
        f"inference/screening/{name}.py"
        for name in ("attack", "calibration", "columns", "detector", "scoring")
    ),
    *(
        f"training/{name}.py"
        for name in (
            *("descent", "hardening", "mlp", "reference", "response"),
            *("steps", "students"),
        )
    ),
)
_TEXTS = (
    "benchmarks/screening/measures.py",
    *(
        f"benchmarks/screening/texts/{name}.py"
        for name in (
            *("corpora", "models", "subjects", "attacks"),
            *("knowing", "mistyping", "synonyms", "measures"),
        )
    ),
    *(
        f"publishing/{name}.py"
        for name in ("calibrate", "screening_report", "text_probe", "weights")
    ),
    *(f"inference/screening/{name}.py" for name in ("calibration", "detector", "scoring")),
    *(
        f"training/{name}.py"
        for name in (
            *("encoder", "export_text", "reference"),
            *("response", "text_response", "wording"),
        )
    ),
)


def of_numbers() -> str:
    return _digest(_NUMBERS)


def of_texts() -> str:
    return _digest(_TEXTS)


def _digest(paths: tuple[str, ...]) -> str:
    content = b"".join((_ROOT / path).read_bytes() for path in paths)
    return hashlib.sha256(content).hexdigest()[:16]
