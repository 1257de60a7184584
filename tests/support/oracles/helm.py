"""The chart of deploy/ as helm renders it: by its program, or by its library in `helm-python-sdk`.

`python -m tests.support.oracles.helm` (`make kubernetes`) writes what is committed, a file to a
template.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.oracles.programs import ROOT, own_python_with, run

CHART = ROOT / "deploy" / "helm" / "sealgate"
RENDERED = ROOT / "deploy" / "kubernetes"
NAME = "sealgate"
_BY_LIBRARY = """
import json, sys
import helm_python
chart = helm_python.Chart.load(sys.argv[1])
values = json.load(sys.stdin)
print(json.dumps(chart.render(values, name=sys.argv[2], namespace=sys.argv[2])))
"""


def render(values: Mapping[str, Any] | None = None) -> str:
    """All manifests, as one text of YAML documents; of other `values` than the chart's own."""
    if shutil.which("helm") is None:
        return "---\n".join(_by_library(values).values())
    command = ["helm", "template", NAME, CHART, "--namespace", NAME, "--values", "-"]
    done = run(command, json.dumps(values or {}))
    assert done.returncode == 0, done.stderr
    return done.stdout


def _by_library(values: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The text of each template, by its file's name; a part that is not enabled has none."""
    python = own_python_with("helm", "helm_python")
    done = run([python, "-c", _BY_LIBRARY, CHART, NAME], json.dumps(values or {}))
    assert done.returncode == 0, done.stderr
    rendered = {Path(path).name: text for path, text in json.loads(done.stdout).items()}
    return {
        name: text
        for name, text in sorted(rendered.items())
        if name.endswith(".yaml") and text.strip()
    }


def main() -> None:
    RENDERED.mkdir(exist_ok=True)
    for name, text in _by_library().items():
        (RENDERED / name).write_text(text)


if __name__ == "__main__":
    main()
