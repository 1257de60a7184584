"""A gateway whose logs another one had taken over once went on for ever, refusing everything."""

import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from demo.stage import Stage, free_ports
from gateway.app import build
from gateway.config.document import GatewayConfig
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.remote import connect


def test_it_ends_and_says_why(tmp_path: Path) -> None:
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
