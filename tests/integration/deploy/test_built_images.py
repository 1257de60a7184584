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
from typing import Any

import numpy as np
import pytest

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.tensors import Tensor, read_outputs, write_inputs
from tests.support.builders.models import tiny_decoder
from tests.support.harness.generator import GeneratorHarness, publishing
from tests.support.oracles.images import STATE, ImageRoot, built, mounts
from tests.support.oracles.programs import run

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]

_PATIENCE = 600.0
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


def test_people_publish_promote_and_verify_from_the_root(
    image: ImageRoot, harness: GeneratorHarness
) -> None:
    """Every command runs in the image, as does the generator; only the gateway is the test's."""

    def said(*words: str) -> dict[str, Any]:
        done = run(image.by_person([*words, "--json"], harness.state))
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    tiny_decoder.make(harness.state / "tiny")
    given = harness.write_prompts()
    with serving(image, harness.state):
        harness.start()
        try:
            published = said(*publishing(STATE / "tiny", STATE / given.name))
            assert published["version"] == 1
            digest = said("model", "propose", "tiny", "1")["proposal"]
            for person in ("approver-1", "approver-2"):
                said("--as", person, "model", "approve", digest, "--meaning", "reviewed")
            said("--as", "admin", "model", "promote", digest, "--reason", "first")
            harness.await_version("tiny", 1)
            answer = harness.inference().ModelInfer(_asked(), timeout=_PATIENCE)
            assert answer.model_version == "1"
            assert read_outputs(answer)["text_output"].data[0]
            receipt = harness.state / "receipt.json"
            receipt.write_text(answer.parameters["receipt"].string_param)
            verified = said("--as", "client", "receipt", "verify", str(STATE / receipt.name))
            assert (verified["outcome"], verified["proof"]) == ("answered", "holds")
            assert (verified["model"], verified["version"]) == ("tiny", "1")
            check = ["python", "/opt/sealgate/healthcheck.py", "generator"]
            done = run(image.inside(check, mounts("generator", harness.state)))
            assert (done.returncode, done.stdout) == (0, "generator: SERVING\n")
        finally:
            harness.stop()


def _asked() -> oip.ModelInferRequest:
    asked = oip.ModelInferRequest(model_name="tiny")
    asked.parameters["max_tokens"].int64_param = 8
    asked.parameters["receipt"].bool_param = True
    write_inputs(asked, [Tensor.of("text_input", np.array([b"The list is"], object))])
    return asked


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
