"""The digest of our own code, by which a run and its provenance name what trained."""

from pathlib import Path

import training
from sealgate.trust import canonical
from sealgate.trust.canonical import sha256
from training.run import origin


def written(root: Path, text: bytes = b"pass\n") -> Path:
    for name in ("inference", "publishing", "training/steps", "gateway"):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "module.py").write_bytes(text)
    return root


def test_the_digest_is_of_each_file_of_the_packages_that_train(tmp_path: Path) -> None:
    digest = sha256(b"pass\n")
    names = ("inference", "publishing", "training/steps")
    wanted = sha256(canonical.encode({f"{name}/module.py": digest for name in names}))
    assert origin.digest_of_sources(written(tmp_path)) == wanted


def test_other_code_has_another_digest(tmp_path: Path) -> None:
    before = origin.digest_of_sources(written(tmp_path))
    (tmp_path / "training" / "steps" / "module.py").write_bytes(b"1\n")
    assert origin.digest_of_sources(tmp_path) != before


def test_what_runs_is_what_the_digest_is_of() -> None:
    assert training.__file__ is not None
    root = Path(training.__file__).parents[1]
    assert origin.code_digest() == origin.digest_of_sources(root) != sha256(b"{}")
