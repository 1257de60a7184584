"""Downloads a model from MLflow's tracking store or registry by MLflow's own client.

    runs:/RUN/PATH           what a run logged there
    models:/NAME/VERSION     a version of a registered model; also /latest, and /STAGE
    models:/NAME@ALIAS       the version that an alias names
    models:/m-ID             a logged model
    mlflow-artifacts:/PATH   a folder of the tracking server

It becomes a folder in the layout of a run, which `publishing.ready.mlflow` reads as any other:

    artifacts/NAME/...   the model's files
    metrics/KEY          the last value of each metric of its run
    source               what the URI stood for, such as models:/credit/3

The client runs in a process of its own, for a limited time; files have a largest size even where a
server understates it. MLflow comes with the extra `mlflow`.
"""

import contextlib
import importlib.util
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from publishing.ready.mlflow import ARTIFACTS, METRICS, MOST_FILES, SOURCE
from publishing.source.folder import LARGEST_FILE
from sealgate.reasons import Reason, SealgateError

SCHEMES = ("runs:", "models:", "mlflow-artifacts:")
TRACKING = "MLFLOW_TRACKING_URI"
_DEFAULTS = {
    "MLFLOW_ALLOW_FILE_STORE": "true",  # it is only read
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class RemoteModel(Protocol):
    """A model in MLflow's keeping: its name, what its URI stood for, and its run's metrics."""

    name: str
    source: str
    metrics: Mapping[str, float]

    def entries(self, folder: str) -> list[tuple[str, bool, int]]:
        """Path, whether it is a folder, and stated size of what lies in `folder` ("" is all)."""

    def download(self, path: str, to: Path) -> None:
        """Write the file there."""


def is_uri(text: str) -> bool:
    """Whether MLflow's client is asked for it."""
    return text.startswith(SCHEMES)


def download(uri: str, place: Path, seconds: float) -> Path:
    """Download the model at `uri` into the folder `place`, and return its own folder.

    Raises: PARAMETER_MALFORMED without a tracking store; FORMAT_REFUSED without MLflow's client;
    FILE_MISSING with what MLflow says; FILE_TOO_LARGE, PATH_UNSAFE; WORKER_LIMIT, WORKER_FAILED.
    """
    if not os.environ.get(TRACKING):
        detail = f"{TRACKING} names the tracking store, such as sqlite:///mlflow.db or https://…"
        raise SealgateError(Reason.PARAMETER_MALFORMED, detail)
    if importlib.util.find_spec("mlflow") is None:
        detail = f"{uri} needs MLflow's client: pip install 'sealgate[mlflow]'"
        raise SealgateError(Reason.FORMAT_REFUSED, detail)
    command = [sys.executable, "-P", "-m", __name__, uri, str(place)]
    environment = _DEFAULTS | os.environ
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, env=environment)
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        detail = f"downloading {uri} took more than {seconds:.0f} seconds"
        raise SealgateError(Reason.WORKER_LIMIT, detail) from error
    except ValueError as error:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise SealgateError(Reason.WORKER_FAILED, f"MLflow's client: {last[:300]}") from error
    if "reason" in answer:
        raise SealgateError(Reason[answer["reason"]], answer["detail"])
    return place / ARTIFACTS / str(answer["name"])


def store(model: RemoteModel, place: Path, most: int = LARGEST_FILE) -> str:
    """Write a remote model as the folder of a run; returns the name of the model's own folder.

    1. It has files, with folders MOST_FILES at most, whose paths stay within it (FILE_MISSING,
       FILE_TOO_LARGE, PATH_UNSAFE).
    2. They have `most` bytes together, as stated and as they come (FILE_TOO_LARGE).
    """
    name = model.name if _NAME.fullmatch(model.name) else "model"
    folder = place / ARTIFACTS / name
    folder.mkdir(parents=True)
    # 1.
    files = _files(model)
    if not files:
        raise SealgateError(Reason.FILE_MISSING, f"{model.source} has no files")
    # 2.
    left = most
    if sum(files.values()) > left:
        raise SealgateError(Reason.FILE_TOO_LARGE, f"{model.source} has more than {most} bytes")
    for path in files:
        to = folder / path
        to.parent.mkdir(parents=True, exist_ok=True)
        with _largest(left, model.source):
            model.download(path, to)
        left -= to.stat().st_size
    for key, value in model.metrics.items():
        to = place / METRICS / _safe(key)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(f"0 {value!r} 0\n")
    (place / SOURCE).write_text(model.source)
    return name


def _files(model: RemoteModel) -> dict[str, int]:
    """The stated size of each file, by its path."""
    files, waiting, seen = {}, [""], 0
    while waiting:
        folder = waiting.pop()
        for path, is_folder, size in model.entries(folder):
            seen += 1
            if seen > MOST_FILES:
                detail = f"{model.source} has more than {MOST_FILES} files and folders"
                raise SealgateError(Reason.FILE_TOO_LARGE, detail)
            if PurePosixPath(_safe(path)).parent != PurePosixPath(folder or "."):
                raise SealgateError(Reason.PATH_UNSAFE, f"MLflow lists {path[:100]} in {folder}")
            if is_folder:
                waiting.append(path)
            else:
                files[path] = size
    return files


def _safe(path: str) -> str:
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\0" in path or not parts.parts:
        raise SealgateError(Reason.PATH_UNSAFE, f"MLflow names {path[:100]!r}")
    return path


@contextmanager
def _largest(size: int, source: str) -> Iterator[None]:
    """Within it, no file can be written beyond `size` bytes. Raises FILE_TOO_LARGE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(0, size), hard))
    try:
        yield
    except Exception as error:
        if "File too large" in str(error):
            detail = f"{source} has larger files than it states, or than may be"
            raise SealgateError(Reason.FILE_TOO_LARGE, detail) from error
        raise
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@dataclass
class _Stored:
    """A model by MLflow's client. `root` is where `repository` has it."""

    repository: Any
    name: str
    source: str
    root: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)

    def entries(self, folder: str) -> list[tuple[str, bool, int]]:
        at = "/".join(filter(None, (self.root, folder)))
        found = self.repository.list_artifacts(at or None)
        return [(self._within(e.path), bool(e.is_dir), int(e.file_size or 0)) for e in found]

    def download(self, path: str, to: Path) -> None:
        at = "/".join(filter(None, (self.root, path)))
        came = Path(self.repository.download_artifacts(at, str(to.parent)))
        if came != to:
            came.replace(to)

    def _within(self, path: str) -> str:
        return path.removeprefix(f"{self.root}/") if self.root else path


def _opened(uri: str) -> _Stored:
    """Raises MlflowException, and PARAMETER_MALFORMED for a run without a path."""
    from mlflow import MlflowClient
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    client = MlflowClient()
    parts = uri.partition(":")[2].strip("/").split("/")
    run, name, source, root = "", parts[-1], uri, ""
    if uri.startswith("runs:"):
        if len(parts) < 2:
            detail = f"{uri}: name the model too, as in runs:/{parts[0]}/model"
            raise SealgateError(Reason.PARAMETER_MALFORMED, detail)
        run, root = parts[0], "/".join(parts[1:])
        repository = get_artifact_repository(f"runs:/{run}")
    else:
        repository = get_artifact_repository(uri)
    version = getattr(repository, "model_version", None)
    if uri.startswith("models:") and version is not None:
        name = repository.model_name
        source = f"models:/{name}/{version}"
        run = client.get_model_version(name, version).run_id or ""
    elif uri.startswith("models:"):
        logged = client.get_logged_model(parts[0])
        run, name = logged.source_run_id or "", logged.name
    metrics = client.get_run(run).data.metrics if run else {}
    return _Stored(repository, name, source, root, metrics)


def _main(uri: str, place: Path) -> dict[str, str]:
    """The answer to the other process: a name, or the reason of a refusal."""
    try:
        return {"name": store(_opened(uri), place)}
    except SealgateError as refusal:
        return {"reason": refusal.reason.name, "detail": refusal.detail}
    except Exception as error:  # MLflow's plugins raise what they like
        return {"reason": Reason.FILE_MISSING.name, "detail": f"MLflow: {str(error)[:300]}"}


if __name__ == "__main__":
    # What MLflow prints goes elsewhere.
    with contextlib.redirect_stdout(sys.stderr):
        told = _main(sys.argv[1], Path(sys.argv[2]))
    print(json.dumps(told))
