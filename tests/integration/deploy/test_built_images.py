"""The image of language models, built without an engine, and what runs in its unpacked root.

`make test-extra NAME=built` builds it: with torch that takes minutes and gigabytes.
"""

import json
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.tensors import Tensor, read_outputs, write_inputs
from tests.support.builders.models import tiny_decoder
from tests.support.harness.generator import GeneratorHarness
from tests.support.oracles.images import ImageRoot, built, mounts
from tests.support.oracles.programs import run

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]

_PATIENCE = 120.0
_SERVE = ["serve", "generator"]
# Entry points whose extras an image of language models does not have.
_LEFT_OUT = {"console", "federated", "train"}
_LOAD_ALL = """
import json
from importlib.metadata import distribution
broken = {}
for entry in distribution("sealgate").entry_points:
    if not LEFT_OUT & set(entry.extras):
        try:
            entry.load()
        except Exception as error:
            broken[f"{entry.group} {entry.name}"] = repr(error)
print(json.dumps(broken))
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageRoot]:
    with built("generation", tmp_path_factory.mktemp("images")) as image:
        yield image


@pytest.fixture
def harness(tmp_path: Path) -> GeneratorHarness:
    """An installation whose generator has its folder where compose has it."""
    harness = GeneratorHarness(tmp_path / "state")
    for name in ("generator", "gateway"):
        path = harness.state / f"{name}.toml"
        path.write_text(path.read_text().replace('"engine/', '"generator/'))
    (harness.state / "generator").mkdir(mode=0o700)
    (harness.state / "artifacts").mkdir(exist_ok=True)
    return harness


@contextmanager
def serving(image: ImageRoot, state: Path) -> Iterator[None]:
    """The image's generator, listening, with what compose mounts and nothing else."""
    command = image.started(_SERVE, mounts("generator", state))
    with subprocess.Popen(command) as process:
        try:
            until = time.monotonic() + _PATIENCE
            while not (state / "generator/engine.sock").exists():
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.1)
            yield
        finally:
            process.terminate()


@contextmanager
def without(path: Path) -> Iterator[None]:
    aside = path.with_name(f"{path.name}.aside")
    path.rename(aside)
    try:
        yield
    finally:
        aside.rename(path)


def test_a_generator_answers_from_the_root(
    image: ImageRoot, harness: GeneratorHarness, tmp_path: Path
) -> None:
    with serving(image, harness.state):
        harness.start()
        try:
            harness.publish_generator(tiny_decoder.make(tmp_path / "tiny"))
            harness.promote("tiny", 1)
            asked = oip.ModelInferRequest(model_name="tiny")
            asked.parameters["max_tokens"].int64_param = 8
            text = np.array([b"The list is"], object)
            write_inputs(asked, [Tensor.of("text_input", text)])
            answer = harness.inference().ModelInfer(asked, timeout=_PATIENCE)
            assert answer.model_version == "1"
            assert read_outputs(answer)["text_output"].data[0]
            check = ["python", "/opt/sealgate/healthcheck.py", "generator"]
            done = run(image.inside(check, mounts("generator", harness.state)))
            assert (done.returncode, done.stdout) == (0, "generator: SERVING\n")
        finally:
            harness.stop()


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ("generation/serving/generator_server.py", "generator_server"),
        ("torch/lib/libtorch_cpu.so", "libtorch_cpu.so"),
        ("tokenizers/__init__.py", "tokenizers"),
    ],
)
def test_a_missing_file_shows(
    image: ImageRoot, harness: GeneratorHarness, missing: str, named: str
) -> None:
    with without(image.packages / missing):
        done = run(image.started(_SERVE, mounts("generator", harness.state)))
    assert done.returncode == 1
    assert named in done.stderr


def test_every_command_of_its_extras_is_there(image: ImageRoot) -> None:
    script = f"LEFT_OUT = {_LEFT_OUT!r}\n{_LOAD_ALL}"
    done = run(image.inside(["python", "-c", script]))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}


def test_its_user_can_read_all_and_write_nothing(image: ImageRoot) -> None:
    """Outside of it the files belong to root: in the root they look like the user's own."""
    assert image.config["User"] == "10001:10001"
    closed = [
        path
        for path in image.packages.rglob("*")
        if not path.is_symlink()
        and (not path.stat().st_mode & stat.S_IROTH or path.stat().st_mode & stat.S_IWOTH)
    ]
    assert closed == []
    done = run(image.inside(["sh", "-c", "id -u; touch /opt/sealgate/new /var/lib/sealgate/new"]))
    assert done.stdout == "10001\n"
    assert done.stderr.count("Read-only file system") == 2
