"""Versions to upload that need no model: random tensors, signed by a gateway's publisher."""

import secrets
from pathlib import Path

import grpc
import numpy as np
from safetensors.numpy import save

from sealgate.reasons import Reason
from sealgate.remote import reason_of
from sealgate.remote.uploads import Package
from sealgate.trust.canonical import sha256
from sealgate.trust.keys import load_private_key
from sealgate.trust.statements import Manifest, oms
from sealgate.v1 import registry_pb2 as messages
from tests.support.harness.gateway import GatewayHarness


def package(harness: GatewayHarness, folder: Path, *sizes: int, model: str = "resumed") -> Package:
    """A version of one file for each size, in bytes (a little more), of random tensors."""
    folder.mkdir(parents=True)
    random = np.random.default_rng()
    for number, size in enumerate(sizes):
        data = save({"w": random.integers(0, 256, size, dtype=np.uint8)})
        (folder / f"part-{number}.safetensors").write_bytes(data)
    files = {path.name: path for path in folder.iterdir()}
    manifest = Manifest.of({name: path.read_bytes() for name, path in files.items()})
    key = load_private_key(harness.profile("publisher").model_signing_key)
    return Package(model, manifest, oms.sign(manifest, key), [], commit(harness, model), files)


def commit(harness: GatewayHarness, model: str) -> str:
    """A new watermark commitment of the model, which is made where there is none."""
    registry = harness.registry("publisher")
    try:
        registry.CreateModel(messages.CreateModelRequest(model=model))
    except grpc.RpcError as error:
        if reason_of(error) is not Reason.MODEL_EXISTS:
            raise
    commitment = sha256(secrets.token_bytes(32))
    registry.CommitWatermark(messages.CommitWatermarkRequest(model=model, commitment=commitment))
    return commitment


def stored(harness: GatewayHarness, version: messages.Version) -> dict[str, str]:
    """The digest of each file as the gateway gives it out."""
    found = {}
    for entry in Manifest.decode(version.manifest).files:
        request = messages.DownloadFileRequest(name=version.name, path=entry.path)
        parts = harness.registry("publisher").DownloadFile(request)
        found[entry.path] = sha256(b"".join(part.chunk for part in parts))
    return found


def expected(package: Package) -> dict[str, str]:
    """The digest of each file as it lies on the publisher's machine."""
    return {path: sha256(file.read_bytes()) for path, file in package.files.items()}
