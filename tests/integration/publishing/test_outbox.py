"""A version in the outbox is used again only for the same options."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from publishing.cli.publish import PublishOptions, open_outbox
from publishing.source.dataset import Dataset
from sealgate.remote import Profile
from tests.support.harness.gateway import GatewayHarness

DEMO = Path(__file__).parents[3] / "demo"
FOLDER, DATA = DEMO / "models" / "breast-cancer", DEMO / "data" / "breast-cancer.safetensors"


@pytest.fixture
def publisher(tmp_path: Path) -> Profile:
    return GatewayHarness(tmp_path / "state").profile("publisher")


@pytest.mark.parametrize(
    ("others", "waits"),
    [
        (PublishOptions(0.05), True),
        (PublishOptions(0.0), False),
        (PublishOptions(0.05, first_stage=False), False),
    ],
)
def test_a_waiting_version_is_used_only_for_its_own_options(
    publisher: Profile, others: PublishOptions, waits: bool
) -> None:
    data = Dataset.read(DATA)
    with open_outbox(publisher, FOLDER, data, PublishOptions(0.05)) as outbox:
        outbox.folder.mkdir(parents=True)
    with open_outbox(publisher, FOLDER, data, others) as outbox:
        assert outbox.is_empty() is not waits


@pytest.mark.parametrize("files", [("MLmodel", "model.onnx"), ("config.json", "onnx/model.onnx")])
def test_a_waiting_version_is_not_used_for_an_imported_folder_that_changed(
    publisher: Profile, tmp_path: Path, files: tuple[str, str]
) -> None:
    data, folder = Dataset.read(DATA), tmp_path / "imported"
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    with open_outbox(publisher, folder, data, PublishOptions()) as outbox:
        outbox.folder.mkdir(parents=True)
    (folder / files[1]).write_text("{1}")
    with open_outbox(publisher, folder, data, PublishOptions()) as outbox:
        assert outbox.is_empty()


def test_a_waiting_version_is_not_used_for_weights_that_changed(
    publisher: Profile, tmp_path: Path
) -> None:
    data, file = Dataset.read(DATA), tmp_path / "net.onnx"
    weight = numpy_helper.from_array(np.eye(30, dtype=np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["z"])
    x, z = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 30]) for n in "xz")
    model = helper.make_model(helper.make_graph([node], "one", [x], [z], [weight]))
    onnx.save(model, file, save_as_external_data=True, location="net.onnx.data")
    with open_outbox(publisher, file, data, PublishOptions()) as outbox:
        outbox.folder.mkdir(parents=True)
    (tmp_path / "net.onnx.data").write_bytes(b"0" * 3600)
    with open_outbox(publisher, file, data, PublishOptions()) as outbox:
        assert outbox.is_empty()
