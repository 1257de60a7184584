"""Training provenance of a run: its inputs and how they were used (`publishing.source.folder`)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from inference.runtime.settings import CPU
from publishing.source.folder import SLSA, WORKSHOP
from sealgate.trust import canonical
from sealgate.trust.canonical import raw, sha256
from sealgate.trust.statements.oms import STATEMENT
from training.data import SourceRows
from training.models.checkpoints import ImportedCheckpoint, read_imported
from training.recipe.federated import FederatedRecipe
from training.recipe.recipe import Recipe
from training.steps import teachers

_PACKAGES = (
    *("torch", "accelerate", "numpy", "onnx", "onnxscript", "scikit-learn", "transformers"),
    *("torchao", "opacus", "cleverhans", "tokenizers"),
)
_OF_GRAPHS = ("torch", "numpy", "onnx", "onnxscript", "transformers")
# `sealgate import --graphs` as a builder and as a build type.
IMPORT = "urn:sealgate:import:v1"
# Packages whose code determines the result, and the folder that they are in.
_OWN = ("inference", "publishing", "training")
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class RunInputs:
    """The inputs of a run: the recipe and its digest, the digests of the data's files and of what
    it began or learnt from, by name; when it began (RFC 3339); what privacy was spent; who took
    part, where clients trained it; what was tried, where the student was looked for; what its false
    alarms were bounded on, where it looks for a class; what no change can turn, where a step
    certifies; and the device that trained it, in words.
    """

    recipe: Recipe | FederatedRecipe
    recipe_digest: str
    data: Mapping[str, str]
    parents: Mapping[str, str]
    began: str
    privacy: Mapping[str, Any] | None = None
    federated: Mapping[str, Any] | None = None
    search: Mapping[str, Any] | None = None
    alarms: Mapping[str, Any] | None = None
    certified: Mapping[str, Any] | None = None
    device: str = CPU

    def known(self, *names: str) -> dict[str, dict[str, Any]]:
        """The accounts of these names that there are, such as `privacy` and `search`."""
        return {name: dict(found) for name in names if (found := getattr(self, name)) is not None}


def claimed(asked: Recipe, digest: str, read: SourceRows, device: str = CPU) -> dict[str, Any]:
    """All that decides what comes of a recipe of this digest, by what it is called. Raises what
    those that it learns or begins from are refused for.
    """
    given: dict[str, Any] = {
        "recipe": digest,
        "code": code_digest(),
        "set of packages": versions(_PACKAGES),
        "data": dict(read.files),
        "teacher": teachers.digest(asked.teacher),
        # Sums round differently on another one.
        "device": device,
    }
    if read.tokenizer is not None:
        given["tokenizer"] = sha256(read.tokenizer)
    if asked.student.path is not None:
        given["student"] = read_imported(asked.student.path).digest
    return given


def statement(
    went_in: RunInputs, files: Mapping[str, bytes], beside: Mapping[str, bytes], ended: str
) -> bytes:
    """Return the provenance of `files`, which were made by `ended` (RFC 3339), as canonical JSON.

    `beside` came of the same run, for publishing, and is its byproduct. No path of this machine is
    named.
    """
    accounts = went_in.known("privacy", "federated", "search", "alarms", "certified")
    inner = {"code": code_digest(), "device": went_in.device, **accounts}
    followed = asdict(went_in.recipe)
    if went_in.search is None:
        followed.pop("search", None)
    named = [("data", went_in.data), ("parent", went_in.parents)]
    packages = (*_PACKAGES, *(("flwr",) if went_in.federated else ()))
    packages += ("optuna",) if went_in.search else ()
    definition = {
        "buildType": WORKSHOP,
        "externalParameters": {
            "recipe": _plain(followed),
            "recipe_digest": went_in.recipe_digest,
            "seed": went_in.recipe.run.seed,
        },
        "internalParameters": inner,
        "resolvedDependencies": _dependencies(named, packages),
    }
    details = {"byproducts": _digests(beside)}
    return _encode(files, definition, went_in.began, ended, details)


def imported_statement(
    imported: ImportedCheckpoint, family: str, files: Mapping[str, bytes], began: str, ended: str
) -> bytes:
    """Return the provenance of graphs that were made of a checkpoint, as canonical JSON."""
    definition = {
        "buildType": IMPORT,
        "externalParameters": {"family": family},
        "internalParameters": {"code": code_digest()},
        "resolvedDependencies": _dependencies(
            [("parent", {f"checkpoint {imported.origin}": imported.digest})], _OF_GRAPHS
        ),
    }
    return _encode(files, definition, began, ended)


def _encode(
    files: Mapping[str, bytes],
    definition: Mapping[str, Any],
    began: str,
    ended: str,
    details: Mapping[str, Any] | None = None,
) -> bytes:
    builder = {"id": definition["buildType"], "version": {"sealgate": version("sealgate")}}
    document = {
        "_type": STATEMENT,
        "predicateType": SLSA,
        "subject": _digests(files),
        "predicate": {
            "buildDefinition": dict(definition),
            "runDetails": {
                "builder": builder,
                "metadata": {"startedOn": began, "finishedOn": ended},
                **(details or {}),
            },
        },
    }
    return canonical.encode(document)


@cache
def code_digest() -> str:
    """The digest of our own code, as it is installed: what a version number cannot tell."""
    return digest_of_sources(_ROOT)


def digest_of_sources(root: Path) -> str:
    """The digest of the code of the packages in `root`, in canonical JSON: each file's digest by
    its path there.
    """
    sources = {
        str(path.relative_to(root)): sha256(path.read_bytes())
        for name in _OWN
        for path in sorted((root / name).rglob("*.py"))
    }
    return sha256(canonical.encode(sources))


def _dependencies(
    named: Sequence[tuple[str, Mapping[str, str]]], packages: Sequence[str]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": f"{kind}: {name}", "digest": _digest(digest)}
        for kind, items in named
        for name, digest in sorted(items.items())
    ]
    own = {"uri": f"pkg:pypi/sealgate@{version('sealgate')}", "digest": _digest(code_digest())}
    there = versions(packages).items()
    return [*found, own, *({"uri": f"pkg:pypi/{name}@{number}"} for name, number in there)]


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Of installed packages, by name."""
    return {name: version(name) for name in packages}


def _digests(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    return [{"name": name, "digest": _digest(sha256(each))} for name, each in sorted(files.items())]


def _digest(text: str) -> dict[str, str]:
    return {"sha256": raw(text).hex()}


def _plain(value: Any) -> Any:
    """Without what the defaults leave out, and of a path its name alone."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items() if item not in (None, "", ())}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.name if isinstance(value, Path) else value
