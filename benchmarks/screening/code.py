"""Which code a figure was measured by: rows of different code are not held beside each other."""

import hashlib
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_PATHS = (
    *(
        f"benchmarks/screening/{name}.py"
        for name in (
            *("sources", "subjects", "attacks", "toolbox"),
            *("served", "knowing", "measures"),
        )
    ),
    *(f"publishing/{name}.py" for name in ("calibrate", "probe", "screening_report")),
    *(
        f"inference/screening/{name}.py"
        for name in ("attack", "calibration", "detector", "scoring")
    ),
    *(
        f"training/{name}.py"
        for name in (
            *("descent", "hardening", "mlp", "reference", "response"),
            *("steps", "students"),
        )
    ),
)


def digest() -> str:
    content = b"".join((_ROOT / path).read_bytes() for path in _PATHS)
    return hashlib.sha256(content).hexdigest()[:16]
