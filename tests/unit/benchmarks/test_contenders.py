"""Grids of settings, and the requests that each server is sent."""

import json
from pathlib import Path

import numpy as np

from benchmarks.contenders import BARE, PEERS, batching, grid
from benchmarks.served import Served
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.tensors import read_inputs

ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)
IDS = np.arange(12, dtype=np.int64).reshape(3, 4)


def one_input():
    return Served("one", Path("one.onnx"), {"x": ROWS}, 10)


def two_inputs():
    return Served("two", Path("two.onnx"), {"ids": IDS, "mask": IDS + 100}, 10)


def test_a_grid_is_every_combination():
    assert grid(workers=(1, 2), fast=(True,)) == (
        {"workers": 1, "fast": True},
        {"workers": 2, "fast": True},
    )


def test_batching_is_tried_off_and_on():
    assert [point["batch"] for point in batching(workers=(1,))] == [0, 16]


def test_every_contender_has_a_program_a_list_of_packages_and_distinct_settings():
    peers = Path(__file__).parents[3] / "benchmarks" / "peers"
    for contender in (BARE, *PEERS):
        assert (peers / contender.program).exists()
        assert contender is BARE or (peers / f"{contender.environment}.txt").exists()
        settings = [json.dumps(setting) for setting in contender.settings]
        assert len(settings) == len(set(settings)) > 1


def test_requests_of_the_protocol_carry_one_row_each():
    messages = [oip.ModelInferRequest.FromString(one) for one in two_inputs().protobuf("m", True)]
    assert len(messages) == 3
    tensors = read_inputs(messages[1])
    np.testing.assert_array_equal(tensors["ids"].data, IDS[1:2])
    np.testing.assert_array_equal(tensors["mask"].data, IDS[1:2] + 100)
    assert messages[1].model_name == "m"
    assert messages[1].parameters["receipt"].bool_param


def test_json_has_the_inputs_by_name():
    assert json.loads(two_inputs().json()[2]) == {
        "ids": IDS[2:].tolist(),
        "mask": (IDS[2:] + 100).tolist(),
    }


def test_json_in_one_stacks_what_is_more_than_one_input():
    assert json.loads(one_input().json_in_one()[0]) == {"x": ROWS[:1].tolist()}
    (pair,) = json.loads(two_inputs().json_in_one()[0])["x"]
    assert pair == [IDS[0].tolist(), (IDS[0] + 100).tolist()]
