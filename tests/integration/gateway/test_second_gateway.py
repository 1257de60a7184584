"""A second gateway on the same installation does not take over a running one unnoticed."""

import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from demo.stage import Stage, StepFailed, check_free, free_ports
from gateway.app import build
from gateway.config.document import GatewayConfig
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.remote import connect
from sealgate.settings import ConfigError
from sealgate.v1 import registry_pb2 as messages
from tests.support.harness.gateway import running


def test_a_second_gateway_leaves_the_first_alone(tmp_path):
    with running(tmp_path / "state") as harness:
        with pytest.raises(ConfigError):
            build(GatewayConfig.read(harness.state / "gateway.toml"))
        registry = harness.registry("publisher")
        made = registry.CreateModel(messages.CreateModelRequest(model="digits"), timeout=60)
        assert made.model.name == "models/digits"


def test_a_second_start_reports_the_running_gateway(tmp_path):
    with running(tmp_path / "state") as harness:
        endpoint = harness.profile("client").endpoint
        with pytest.raises(StepFailed, match="in use"):
            check_free(endpoint)
    check_free(endpoint)


def test_a_gateway_whose_logs_were_taken_over_ends_and_says_why(tmp_path: Path) -> None:
    state = tmp_path / "state"
    stage = Stage(state)
    stage.command("init", "--unencrypted-keys", "--port", str(free_ports()))
    words = [sys.executable, "-m", "sealgate.cli.main", "--state", str(state), "serve"]
    first = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        for line in first.stdout:
            if "mutual" in line:
                break
        other = state / "other.toml"
        ports = free_ports()
        text = (state / "gateway.toml").read_text()
        listen = GatewayConfig.read(state / "gateway.toml").listen
        text = text.replace(listen.tls, f"127.0.0.1:{ports}")
        text = text.replace(listen.mutual, f"127.0.0.1:{ports + 1}")
        other.write_text(text.replace("seen.json", "other-seen.json"))
        second = build(GatewayConfig.read(other))
        # A refusal of a known caller must be recorded, and cannot be.
        request = oip.ModelInferRequest(model_name="digits")
        with connect(stage.profile("auditor")) as channel, pytest.raises(grpc.RpcError):
            GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=60)
        assert first.wait(60) == 1
        second.stop()
        assert "taken over" in first.stderr.read()
    finally:
        first.kill()
        first.wait()
