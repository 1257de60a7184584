"""The results of an engine in front of a registry on paper."""

from inference.engine.engine import Engine, UpdateResult
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import VersionFiles
from tests.support.fakes.registry import UncheckedRegistry, UncheckedVersion

MODEL = Perceptron.random()
FILES = VersionFiles.of(MODEL).encode()
BETTER = VersionFiles.of(Perceptron.random(seed=1)).encode()
PLACE = ("digits", "production")


def only(update: UpdateResult) -> Reason:
    """The reason of an update that came to one rejection and nothing else."""
    assert update.refused is None
    assert update.loaded == ()
    ((model, alias, reason),) = [(r.model, r.alias, r.reason) for r in update.rejected]
    assert (model, alias) == PLACE
    return reason


def whole(update: UpdateResult) -> Reason:
    """The reason of an update that was refused as a whole."""
    assert update.refused is not None
    assert (update.loaded, update.rejected) == ((), ())
    return update.refused.reason


def resolved(engine: Engine, number: int | None = None) -> Reason | int:
    try:
        return engine.resolve("digits", number).version
    except SealgateError as refusal:
        return refusal.reason


def promoted(registry: UncheckedRegistry, files: dict[str, bytes] = FILES) -> UncheckedVersion:
    made = registry.publish(files)
    registry.promote(made)
    return made
