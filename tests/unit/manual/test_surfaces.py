"""Packages are imported by their surface alone: their other modules are their own affair. Tests use
public names alone. The README names every package.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from benchmarks.structure import PACKAGES, module_of, private_uses, shared_class_names, sources

ROOT = Path(__file__).parents[3]
SURFACES = {
    "console.display": "charts comparison evidence formats",
    "console.pages": "",
    "console.reading": "gateway jobs proposals versions",
    "console.sign_in": "oidc routes",
    "gateway.admission": "quota_postgres",
    "gateway.auth": "",
    "gateway.calls": "call messages params",
    "gateway.cli": "serve",
    "gateway.config": "document opening optional_sections sections",
    "gateway.cosigning": "",
    "gateway.doctor": "",
    "gateway.observability": "",
    "gateway.outcomes": "",
    "gateway.pipeline": "describe",
    "gateway.recording": "",
    "gateway.rollout": "",
    "gateway.screening": "",
    "gateway.security_events": "",
    "gateway.services": "",
    "gateway.sessions": "",
    "gateway.transport": "native",
    "gateway.transport.http": "http_listeners",
    "gateway.transport.native": "upstream",
    "generation.batching": "answer_loop attention_windows causal_batches sampling step_batches",
    "generation.cli": "",
    "generation.models": (
        "architectures attention_reach closing decoder folder int8 perplexity split suffixes"
    ),
    "generation.publishing": "builder watermark window_choice",
    "generation.serving": "generator_server replay",
    "inference.backends": "local oip openai ray remote trial_load",
    "inference.backends.oip": "foreign_server",
    "inference.backends.openai": "client generator",
    "inference.backends.ray": "engine_host fleet replica",
    "inference.backends.remote": (
        "endpoint engine_pool generator messages remote_engine remote_version"
    ),
    "inference.batching": "",
    "inference.engine": "version_contents",
    "inference.llm": "answers messages request terms",
    "inference.llm.answers": "",
    "inference.model": "columns config decisions golden inputs request_tensors",
    "inference.observability": "tracing",
    "inference.runtime": "graph_rewrites machine providers response_contract session settings",
    "inference.screening": (
        "calibration column_bins detector first_stage gradient_attacks scoring traffic"
    ),
    "inference.server": "config host load_request requests server services tls unix_sockets",
    "inference.text": "text_windows tokenizer tokenizer_file tokens",
    "publishing.attacks": "image_changes probe text_probe",
    "publishing.calibration": "",
    "publishing.cli": "publish",
    "publishing.differentiate": "graphs response",
    "publishing.evidence": "bom certified_rows measurements recalibration signing",
    "publishing.pipeline": "build files",
    "publishing.ready": "description external_data mlflow mlflow_download model_signature reading",
    "publishing.source": "dataset folder",
    "publishing.watermark": "",
    "publishing.worker_tasks": "derivation forward red_team replay trial trial_request",
    "registry.answers": "",
    "registry.audit": "database_check",
    "registry.credentials": "",
    "registry.formats": "bounded_bytes check_queue format_check",
    "registry.listing": "",
    "registry.log": "inspection reader rows tile_log verification",
    "registry.models": "",
    "registry.policy": "",
    "registry.promotion": "",
    "registry.sandbox": "confinement process",
    "registry.state": "events logged_state records replay schema unit_of_work",
    "registry.storage": (
        "artifact_bucket artifacts changes copies database driver postgres revisions"
    ),
    "registry.uploads": "",
    "sealgate.audit": "",
    "sealgate.cli": "context infer main options output policy",
    "sealgate.cli.audit": "",
    "sealgate.cli.model": "proposals",
    "sealgate.cli.policy": "change",
    "sealgate.client": "client consistency request",
    "sealgate.dossier": "",
    "sealgate.events": "",
    "sealgate.health": "check",
    "sealgate.network": "bounded_connect bounded_http metrics_listener timed_connection",
    "sealgate.pack": "",
    "sealgate.pages": "",
    "sealgate.promotion": "documents drafts reviews",
    "sealgate.remote": "calls connection errors uploads",
    "sealgate.setup": "configuration credentials installation people",
    "sealgate.trust": (
        "canonical dsse fields keys policy receipts statements times timestamps transparency"
    ),
    "sealgate.trust.keys": "certificate_identity cose pkcs11_key pkcs11_uri webauthn",
    "sealgate.trust.policy": "",
    "sealgate.trust.receipts": "answer_entry cose_receipt",
    "sealgate.trust.statements": "allowance base covering manifest oms types",
    "sealgate.trust.transparency": "checkpoint merkle ml_dsa note tiles",
    "sealgate.witness": "",
    "training.demo": "mails spam",
    "training.export": "classifier reference text word_votes",
    "training.federated": "",
    "training.models": "checkpoints encoder families long_encoder students window_attention",
    "training.recipe": "federated recipe sections",
    "training.run": "finishing import_checkpoint origin recipe_run sources",
    "training.steps": "certification descent distillation privacy progress runner search teachers",
}
"""The modules of each package that others import, beside what its `__init__.py` exports."""
_NAMED = (*PACKAGES, "benchmarks", "demo")


def surface(package: str) -> set[str]:
    return set(SURFACES[package].split())


@cache
def imports(path: Path) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """The imports of a file, wherever in it. Nothing else of its tree is kept."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return tuple(node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom))


def imported(path: Path, modules: set[str]) -> Iterator[str]:
    """The project's modules that a file imports, wherever in it."""
    for node in imports(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in modules else node.module


@pytest.fixture(scope="module")
def uses() -> dict[str, set[tuple[str, str]]]:
    """By package, who imports which of its modules from outside."""
    files = sources(*(str(ROOT / top) for top in PACKAGES))
    names = {module_of(path.relative_to(ROOT)): path for path in files}
    found: dict[str, set[tuple[str, str]]] = {package: set() for package in SURFACES}
    for importer, path in names.items():
        for module in imported(path, set(names)):
            parts = module.split(".")
            for depth in range(2, len(parts)):
                package = ".".join(parts[:depth])
                if package in found and not f"{importer}.".startswith(f"{package}."):
                    found[package].add((importer, parts[depth]))
    return found


def test_every_package_has_a_surface() -> None:
    found = {
        module_of(init.relative_to(ROOT))
        for top in PACKAGES
        for init in (ROOT / top).glob("*/**/__init__.py")
        if "migrations" not in init.parts and len(sources(str(init.parent))) > 1
    }
    assert found == set(SURFACES)


@pytest.mark.parametrize("package", SURFACES)
def test_siblings_import_a_package_by_its_surface(
    package: str, uses: dict[str, set[tuple[str, str]]]
) -> None:
    inner = {(who, module) for who, module in uses[package] if module not in surface(package)}
    assert inner == set()
    assert {module for _, module in uses[package]} == surface(package)


def test_what_a_package_exports_is_imported_from_it() -> None:
    files = {
        module_of(path.relative_to(ROOT)): path
        for path in sources(*(str(ROOT / top) for top in PACKAGES))
    }
    exported = {
        name: {
            alias.asname or alias.name
            for node in ast.parse(path.read_text()).body
            for alias in names_of(node)
        }
        for name, path in files.items()
        if path.name == "__init__.py"
    }
    past = [
        f"{path.relative_to(ROOT)}: {alias.name} of {node.module}"
        for name, path in files.items()
        for node in imports(path)
        if isinstance(node, ast.ImportFrom) and node.module in files
        for alias in node.names
        if alias.name in exported.get(package := node.module.rpartition(".")[0], ())
        and not name.startswith(f"{package}.")
        and name != package
    ]
    assert past == []


def names_of(node: ast.stmt) -> list[ast.alias]:
    """Return the names that an import statement binds."""
    return node.names if isinstance(node, ast.ImportFrom) else []


def test_no_class_name_stands_for_two_ideas() -> None:
    assert shared_class_names(sources(*(str(ROOT / top) for top in _NAMED))) == {}


def test_tests_use_public_names_alone() -> None:
    assert private_uses(sources(str(ROOT / "tests"))) == []


def test_private_names_are_found_however_they_are_used(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text(
        "from gateway.sync import _PASSING\n"
        "patch.setattr('gateway.sync._WAIT_SECONDS', 1)\n"
        "patch.setattr(sync, '_WAIT_SECONDS', 1)\n"
        "sync._wait()\n"
        "self._mine = super()._theirs\n"
    )
    found = [each.partition(":")[2] for each in private_uses([tmp_path / "test_one.py"])]
    assert found == ["1 _PASSING", "2 _WAIT_SECONDS", "3 _WAIT_SECONDS", "4 _wait"]


@pytest.mark.parametrize("top", PACKAGES)
def test_the_readme_names_every_package(top: str) -> None:
    (row,) = (
        line
        for line in (ROOT / "README.md").read_text().splitlines()
        if line.startswith("| `") and f"`{top}/`" in line.split("|")[1]
    )
    packages = {path.parent.name for path in (ROOT / top).glob("*/__init__.py")}
    assert {name for name in packages if f"`{name}`" not in row} == set()
