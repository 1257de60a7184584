"""Builds the libraries of `clients/` that check receipts, and asks them about cases.

Each is asked by a small program of `tests/integration/clients`: JSON in, JSON out.
"""

import base64
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sealgate.trust import canonical
from tests.support.builders.documents.receipt_cases import Case
from tests.support.oracles import programs

_PROGRAMS = programs.ROOT / "tests" / "integration" / "clients"
_CLIENTS = programs.ROOT / "clients"


@dataclass(frozen=True)
class ReceiptLibrary:
    """A library, as the command that runs its program."""

    command: Sequence[str | Path]

    def verdicts(self, cases: Iterable[Case]) -> list[str]:
        """Its verdict on each: a reason, `unchecked`, or nothing where it accepts."""
        return self._ask(checks=[_written(case) for case in cases])["checks"]

    def tensors_digest(self, tensors: Sequence[Mapping[str, Any]]) -> str:
        """The digest of tensors whose raw contents are in hexadecimal."""
        asked = [{**item, "raw": _base64(bytes.fromhex(item["raw"]))} for item in tensors]
        return self._ask(tensors=[asked])["tensors"][0]

    def parameters_digest(self, request: Mapping[str, Any]) -> str:
        """The digest of the parameters and outputs of a request."""
        parameters = {
            name: {field: _exact(field, value) for field, value in choice.items()}
            for name, choice in request["parameters"].items()
        }
        asked = {"parameters": parameters, "outputs": request["outputs"]}
        return self._ask(requests=[asked])["requests"][0]

    def _ask(self, **parts: Any) -> dict[str, list[str]]:
        asked = {"checks": [], "tensors": [], "requests": [], **parts}
        done = programs.run(self.command, canonical.encode(asked).decode())
        assert done.returncode == 0, done.stderr
        told: dict[str, list[str]] = json.loads(done.stdout)
        return told


def go(folder: Path) -> ReceiptLibrary:
    """Build the one of Go, as a module of its own."""
    compiler = programs.program("go")
    (folder / "cases.go").symlink_to(_PROGRAMS / "cases.go")
    (folder / "go.mod").write_text(
        "module cases\n\ngo 1.23\n\nrequire sealgate/receipt v0.0.0\n\n"
        f"replace sealgate/receipt => {_CLIENTS / 'go'}\n"
    )
    environment = {**os.environ, "GO111MODULE": "on", "GOFLAGS": "-mod=mod", "GOPROXY": "off"}
    environment |= {"GOTOOLCHAIN": "local"}
    _build([compiler, "build", "-C", folder, "-o", "cases", "."], environment)
    return ReceiptLibrary([folder / "cases"])


def java(folder: Path) -> ReceiptLibrary:
    """Build the one of Java."""
    compiler, machine = programs.program("javac"), programs.program("java")
    sources = sorted((_CLIENTS / "java").rglob("*.java"))
    _build([compiler, "-Xlint:all", "-Werror", "-d", folder, *sources, _PROGRAMS / "Cases.java"])
    # Two cores are not worth a better compiler, nor are seconds.
    options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    return ReceiptLibrary([machine, *options, "-cp", folder, "sealgate.receipt.Cases"])


def javascript(folder: Path) -> ReceiptLibrary:
    """Unpack the package of `make client-js`, and use it as another project would."""
    node = programs.program("node")
    _build(["make", "--silent", "-C", programs.ROOT, "client-js", f"DIST={folder}"])
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    (folder / "node_modules").mkdir()
    (folder / "package").rename(folder / "node_modules" / "sealgate-receipt")
    script = shutil.copy(_PROGRAMS / "cases.mjs", folder)
    return ReceiptLibrary([node, script])


LIBRARIES: Mapping[str, Callable[[Path], ReceiptLibrary]] = {
    "go": go,
    "java": java,
    "javascript": javascript,
}


def _build(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
    done = programs.run(command, environment=environment)
    assert done.returncode == 0, done.stderr


def _written(case: Case) -> dict[str, Any]:
    fields = asdict(case)
    del fields["name"], fields["reason"]
    documents = {"receipt": _encoded(case.receipt), "policies": list(map(_encoded, case.policies))}
    return {**fields, **documents, "root_keys": list(case.root_keys)}


def _encoded(text: str) -> str:
    """Surrogates stand for bytes that are not UTF-8."""
    return _base64(text.encode("utf-8", "surrogateescape"))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _exact(field: str, value: Any) -> Any:
    return str(value) if "int64" in field else value
