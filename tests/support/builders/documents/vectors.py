"""Makes the documents of `tests/vectors` from fixed keys.

`python -m tests.support.builders.documents.vectors` writes them again; do so only when a format is
meant to change, for then every document that exists ceases to verify.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.tensors import parameters_digest
from sealgate.trust import dsse
from sealgate.trust.policy import WILDCARD, Policy, Right
from sealgate.trust.policy.promotion_rules import EvidenceRules, RiskTiers
from sealgate.trust.receipts import Receipt, answer_entry
from sealgate.trust.receipts.answer_entry import fields_of
from sealgate.trust.statements import Manifest, Pointer, oms
from sealgate.trust.transparency import Checkpoint, TlogProof, merkle, note, sign_checkpoint
from sealgate.trust.transparency.tiles import Frontier
from tests.support.builders.documents.people import (
    ANSWER_LOG,
    PromotionDocuments,
    key,
    make_policy,
    p256_key,
    sign_policy,
)

FOLDER = Path(__file__).parents[3] / "vectors"
FILES = {"model.json": b"{}", "model.int8.onnx": bytes(range(64)), "golden.safetensors": b""}
SUBJECT_KEY = bytes(range(32))
NONCE = bytes(range(16))
V1_VALUES = (
    "2026-11-25T10:00:00.123456Z",
    "carla",
    "/inference.GRPCInferenceService/ModelInfer",
    "digits",
    "1",
    "sha256:" + "1" * 64,
    "3",
    "sha256:" + "2" * 64,
    "sha256:" + "3" * 64,
    "sha256:" + "4" * 64,
    "answered",
    "clean",
    "0.125",
    "1.5",
    "in-process, digest checked",
)
VALUES = (
    *V1_VALUES,
    "production",
    "sha256:" + "5" * 64,
    "claim-17",
    "two-stage",
    "int8",
    "canary,label-only",
)
TENSORS = (("x", "FP32", (1, 2), bytes(range(8))), ("ids", "INT64", (1,), bytes(8)))


def manifest() -> dict[str, Any]:
    made = Manifest.of(FILES)
    files = {path: data.hex() for path, data in FILES.items()}
    return {"files": files, "manifest": made.encode().decode(), "digest": made.digest}


def envelope() -> dict[str, Any]:
    payload_type, payload = "application/vnd.example+json", b'{"hello":"world"}'
    signers = [key("anna"), key("arne")]
    return {
        "payload_type": payload_type,
        "payload": payload.decode(),
        "signed_bytes": dsse.pae(payload_type, payload).decode(),
        "keys": {signer.public.keyid: signer.public.pem for signer in signers},
        "envelope": dsse.sign(payload_type, payload, *signers).encode().decode(),
    }


def model_signature() -> dict[str, Any]:
    """The signature differs each time: ECDSA draws a number at random."""
    signer = p256_key("paula")
    bundle = oms.sign(Manifest.of(FILES), signer)
    return {"public_key": signer.public.pem, "bundle": bundle.decode()}


def log_proof() -> dict[str, Any]:
    entries = [b"entry %d" % number for number in range(300)]
    frontier = Frontier.empty().append([merkle.leaf_hash(entry) for entry in entries])
    signed = sign_checkpoint(Checkpoint(ANSWER_LOG, 300, frontier.root), key("answer-log"))
    proof = TlogProof(263, tuple(frontier.inclusion_proof(263)), signed)
    return {
        "verifier_key": note.vkey(ANSWER_LOG, key("answer-log").public),
        "origin": ANSWER_LOG,
        "size": 300,
        "root": frontier.root.hex(),
        "checkpoint": signed,
        "entry": entries[263].decode(),
        "proof": proof.encode(),
    }


def receipt(values: Sequence[str] = V1_VALUES) -> dict[str, Any]:
    salts = answer_entry.salts(SUBJECT_KEY, NONCE, len(values))
    entry = answer_entry.leaf(values, salts)
    names = fields_of(entry)
    frontier = Frontier.empty().append([merkle.leaf_hash(b"another"), merkle.leaf_hash(entry)])
    signed = sign_checkpoint(Checkpoint(ANSWER_LOG, 2, frontier.root), key("answer-log"))
    proof = TlogProof(1, tuple(frontier.inclusion_proof(1)), signed)
    return {
        "subject_key": SUBJECT_KEY.hex(),
        "nonce": NONCE.hex(),
        "values": dict(zip(names, values, strict=True)),
        "salts": {field: salt.hex() for field, salt in zip(names, salts, strict=True)},
        "leaf": entry.hex(),
        "receipt": Receipt.of(entry, values, salts, proof).encode().decode(),
    }


def receipt_v2() -> dict[str, Any]:
    return receipt(VALUES)


def parameters() -> dict[str, Any]:
    """The digests of requests whose parameters have every type there is."""
    requests: list[dict[str, Any]] = [
        {"parameters": {}, "outputs": []},
        {"parameters": {"receipt": {"bool_param": True}}, "outputs": []},
        {
            "parameters": {
                "receipt": {"bool_param": False},
                "nonce": {"string_param": "AAECAwQFBgcICQoLDA0ODw"},
                "priority": {"uint64_param": 2**64 - 1},
                "seed": {"int64_param": -2},
                "temperature": {"double_param": 0.25},
                "alias": {},
                "ü": {"string_param": ""},
            },
            "outputs": ["y", "x"],
        },
    ]
    digests = [parameters_digest(_asked(asked)) for asked in requests]
    return {
        "requests": [
            {**asked, "digest": digest} for asked, digest in zip(requests, digests, strict=True)
        ]
    }


def _asked(asked: dict[str, Any]) -> oip.ModelInferRequest:
    request = oip.ModelInferRequest()
    for name, value in asked["parameters"].items():
        request.parameters[name].CopyFrom(oip.InferParameter(**value))
    for name in asked["outputs"]:
        request.outputs.add(name=name)
    return request


def tensors() -> dict[str, Any]:
    named = [
        {"name": name, "datatype": datatype, "shape": list(shape), "raw": raw.hex()}
        for name, datatype, shape, raw in TENSORS
    ]
    return {"tensors": named, "digest": answer_entry.tensors_digest(TENSORS)}


def policies() -> dict[str, Any]:
    first = make_policy()
    second = make_policy(version=2, answer_logs=())
    roots = [key(f"root-{number}").public for number in range(3)]
    return {
        "root_keys": {public.keyid: public.pem for public in roots},
        "threshold": 2,
        "envelopes": [sign_policy(policy).encode().decode() for policy in (first, second)],
        "digests": [first.digest, second.digest],
    }


def conditions() -> dict[str, Any]:
    """A policy with every section that may be left out."""
    clients = Right((), ("client",), ("infer", "metadata"), (WILDCARD,), ("production",))
    rights = (
        replace(clients, environments=("production",), risk_tiers=("high", "low")),
        replace(clients, environments=("staging",)),
        clients,
    )
    risk = RiskTiers({"digits": "high", "notes": "low"}, {"high": {"production": 3}})
    evidence = EvidenceRules({"golden-run": ("publisher", "evidence"), "review": ("evidence",)})
    policy = make_policy(rights=rights, risk=risk, evidence=evidence)
    return {"payload": policy.encode().decode(), "digest": policy.digest}


def promotion() -> dict[str, Any]:
    policy: Policy = make_policy()
    promotion_documents = PromotionDocuments(policy)
    promoted = promotion_documents.promotion()
    returned = promotion_documents.rollback(promoted)
    fresh = promotion_documents.freshness(Pointer.decode(returned.pointer.payload))
    return {
        "publisher": "paula",
        "promotion": promoted.encode().decode(),
        "rollback": returned.encode().decode(),
        "freshness": fresh.encode().decode(),
    }


# The vectors that come out the same each time.
FIXED = {
    "manifest": manifest,
    "dsse": envelope,
    "tlog-proof": log_proof,
    "receipt": receipt,
    "receipt-v2": receipt_v2,
    "parameters": parameters,
    "tensors": tensors,
    "policy": policies,
    "policy-conditions": conditions,
    "promotion": promotion,
}


def read(name: str) -> dict[str, Any]:
    """Read a file of vectors."""
    value: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return value


def main() -> None:
    for name, make in {**FIXED, "model-signature": model_signature}.items():
        text = json.dumps(make(), indent=2, ensure_ascii=False)
        (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
