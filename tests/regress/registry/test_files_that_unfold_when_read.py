"""A publisher's small file took all memory as it was registered, its signature yet unread.

20 MB of empty nodes became 2 GB when they were parsed, 80 MB of empty tensors as much, and as many
versions were looked at side by side as there are threads: one person with a publisher's token could
end the gateway, and with it everybody's answers.
"""

import json
import threading

import pytest
from onnx import ModelProto, NodeProto, helper

from registry import formats, versions
from registry.formats import check_file
from registry.unfolding import check_fields
from sealgate.reasons import Reason, Refusal
from tests.support.bureau import Bureau, onnx_bytes, version_files


def refusal(path: str, data: bytes) -> Reason:
    with pytest.raises(Refusal) as refused:
        check_file(path, data)
    return refused.value.reason


def with_nodes(count: int) -> bytes:
    """A model of that many nodes, two bytes each."""
    model = ModelProto()
    model.ParseFromString(onnx_bytes())
    model.graph.node.extend([NodeProto()] * count)
    return model.SerializeToString()


def test_a_model_of_too_many_nodes_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_MOST_FIELDS", 1000)
    check_file("small.onnx", with_nodes(900))
    large = with_nodes(1000)
    monkeypatch.setattr(ModelProto, "ParseFromString", None)
    assert refusal("large.onnx", large) is Reason.FORMAT_REFUSED


def test_the_bound_is_a_real_one() -> None:
    assert refusal("large.onnx", with_nodes(1 << 20)) is Reason.FORMAT_REFUSED


def test_a_header_of_too_many_tensors_is_not_read() -> None:
    tensor = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({f"{number:x}": tensor for number in range(300_000)}).encode()
    data = len(header).to_bytes(8, "little") + header
    assert refusal("large.safetensors", data) is Reason.FORMAT_REFUSED


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",
        b"\x08" + b"\xff" * 10,
        b"\x3a\x05\x0a",
        b"\x0b\x0c",
        b"\x3a\x02\x0a\x05" + b"x" * 5,
        b"\x09\x00",
    ],
)
def test_what_is_no_message_is_not_counted(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"message|number|field"):
        check_fields(data, ModelProto.DESCRIPTOR, 1000)


def test_every_field_is_counted_at_every_depth() -> None:
    inner = helper.make_node("If", [], [])
    for _ in range(20):
        graph = helper.make_graph([inner], "g", [], [])
        inner = helper.make_node("If", [], [], then_branch=graph)
    data = helper.make_model(helper.make_graph([inner], "g", [], [])).SerializeToString()
    # Of each node operator, attribute and its name, type and graph; of each graph name and node.
    fields = next(n for n in range(1000) if _fits(data, n))
    assert 20 * 7 <= fields <= 20 * 8


def _fits(data: bytes, most: int) -> bool:
    try:
        check_fields(data, ModelProto.DESCRIPTOR, most)
    except ValueError:
        return False
    return True


def test_versions_are_looked_at_one_after_another(tmp_path, monkeypatch) -> None:
    bureau = Bureau(tmp_path, f"sqlite:///{tmp_path}/registry.db").found()
    looking, go_on = threading.Event(), threading.Event()

    def look(path: str, data: bytes) -> None:
        looking.set()
        assert go_on.wait(60)

    monkeypatch.setattr(formats, "check_file", look)
    monkeypatch.setattr(versions, "_PATIENCE_SECONDS", 0.05)
    first = threading.Thread(target=bureau.publish)
    first.start()
    try:
        assert looking.wait(60)
        manifest = bureau.upload(version_files("other"))
        with pytest.raises(Refusal) as refused:
            bureau.registry.versions.register(
                "paula", "digits", manifest.encode(), b"", [], bureau.commitment()
            )
        assert refused.value.reason is Reason.QUEUE_FULL
    finally:
        go_on.set()
        first.join()
        bureau.registry.close()
