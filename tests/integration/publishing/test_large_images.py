"""Images of 224x224x3 are published within the memory and time that a worker has, and answered."""

import io
import json
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.numpy import save_file

from sealgate.trust.receipts import Receipt, verify_receipt
from tests.support.harness.gateway import running
from tests.support.oracles.programs import python_with, run

pytestmark = pytest.mark.long

SIDE, CLASSES = 224, 3
MEMORY = 4
"""GiB, half of what a worker has unless told otherwise."""
SLICES = {"fit": 40, "calibration": 60, "test": 20}


def images(count: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Images [n, 3, 224, 224] of stripes, whose class is how wide they are."""
    classes = np.arange(count) % CLASSES
    places = np.arange(SIDE) + draw.integers(0, 64, (count, 1))
    waves = np.sin(places * (2 * np.pi / (8 * 2**classes))[:, np.newaxis])
    rows = np.broadcast_to(waves[:, np.newaxis, np.newaxis], (count, 3, SIDE, SIDE))
    noisy = 0.5 + 0.15 * rows + draw.normal(0, 0.08, (count, 3, SIDE, SIDE))
    return np.clip(noisy, 0, 1).astype(np.float32), classes


def network() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 7, stride=4, padding=3),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(3, 2, 1),
        torch.nn.Conv2d(8, 16, 3, stride=2, padding=1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(16, CLASSES),
    )


@pytest.fixture(scope="module")
def trained() -> torch.nn.Module:
    torch.manual_seed(0)
    x, y = (torch.from_numpy(each) for each in images(48, np.random.default_rng(1)))
    module = network()
    optimizer = torch.optim.AdamW(module.parameters(), 1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(x), y).backward()
        optimizer.step()
    return module.eval()


def exported(module: torch.nn.Module) -> bytes:
    program = torch.onnx.export(
        module,
        (torch.zeros(2, 3, SIDE, SIDE),),
        dynamo=True,
        input_names=["image"],
        output_names=["scores"],
        dynamic_shapes=({0: torch.export.Dim("rows")},),
        opset_version=20,
        verbose=False,
    )
    out = io.BytesIO()
    onnx.save(program.model_proto, out)
    return out.getvalue()


def test_an_image_network_is_published_in_half_of_a_workers_memory_and_answers(
    trained: torch.nn.Module, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    file, data = tmp_path / "stripes.onnx", tmp_path / "data.safetensors"
    file.write_bytes(exported(trained))
    draw, tensors = np.random.default_rng(2), {}
    for name, count in SLICES.items():
        tensors[f"x_{name}"], tensors[f"y_{name}"] = images(count, draw)
    save_file(tensors, data)
    with running(tmp_path / "state") as harness:
        words = ("--data", str(data), "--domain", "0,1", "--memory", str(MEMORY), "--json")
        result = harness.command("model", "publish", str(file), *words)
        assert result.exit_code == 0, result.output
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        record_property("processor_seconds", round(used.ru_utime + used.ru_stime))
        record_property("largest_mib", used.ru_maxrss >> 10)
        assert used.ru_maxrss < MEMORY << 20
        assert json.loads(result.stdout)["accuracy_float32"] > 0.9
        harness.promote("stripes", 1)
        row, client = tensors["x_test"][:1], harness.profile("client")
        endpoint = client.endpoint.replace("127.0.0.1", "localhost")
        asking = [endpoint, client.server_authority, client.token.read_text(), "stripes"]
        program = Path(__file__).with_name("triton_rows.py")
        done = run([python_with("tritonclient"), program, *asking], json.dumps(row.tolist()))
        assert done.returncode == 0, done.stderr
        answer, receipt = json.loads(done.stdout.splitlines()[-1])[0]
        expected = trained(torch.from_numpy(row)).detach().numpy()[0]
        assert int(np.argmax(answer)) == int(expected.argmax())
        policy = harness.governance("client").policy()
        fields = verify_receipt(Receipt.decode(receipt.encode()), policy).fields
        assert fields["model"] == "stripes"
