"""Fixed vectors: documents that exist must verify for as long as there are formats v1 and v2."""

import json

import pytest

from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import PublicKey
from sealgate.trust.policy import Policy, open_policy_history
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.trust.statements import Manifest, PointerBundle, oms, verify_freshness, verify_pointer
from sealgate.trust.transparency import TlogProof, merkle, open_checkpoint
from sealgate.trust.transparency.tiles import Frontier, consistency_proof, inclusion_proof
from tests.support.builders.documents import vectors
from tests.support.builders.documents.people import NOW
from tests.support.fakes.tile_store import TileStore


@pytest.mark.parametrize("name", vectors.FIXED)
def test_documents_come_out_as_they_did(name: str) -> None:
    assert json.loads(json.dumps(vectors.FIXED[name]())) == vectors.read(name)


def test_the_tree_of_certificate_transparency() -> None:
    known = vectors.read("rfc6962")
    hashes = [merkle.leaf_hash(bytes.fromhex(entry)) for entry in known["entries"]]
    roots = [bytes.fromhex(root) for root in known["roots"]]
    assert [merkle.root(hashes[:size]) for size in range(9)] == roots
    store = TileStore()
    store.put(Frontier.empty().append(hashes).tiles)
    for case in known["inclusion"]:
        index, size = case["index"], case["size"]
        proof = [bytes.fromhex(item) for item in case["proof"]]
        assert inclusion_proof(store, index, size) == proof
        merkle.verify_inclusion(hashes[index], index, size, proof, roots[size])
    for case in known["consistency"]:
        old, new = case["old"], case["new"]
        proof = [bytes.fromhex(item) for item in case["proof"]]
        assert consistency_proof(store, old, new) == proof
        merkle.verify_consistency(old, roots[old], new, roots[new], proof)


def test_the_model_signature_verifies() -> None:
    known = vectors.read("model-signature")
    public = PublicKey.from_pem(known["public_key"])
    manifest = Manifest.decode(vectors.read("manifest")["manifest"].encode())
    assert oms.verify(known["bundle"].encode(), manifest, [public]) == public


def test_the_log_proof_verifies() -> None:
    known = vectors.read("tlog-proof")
    proof = TlogProof.decode(known["proof"])
    checkpoint = open_checkpoint(proof.checkpoint_note, known["verifier_key"])
    leaf = merkle.leaf_hash(known["entry"].encode())
    merkle.verify_inclusion(leaf, proof.index, checkpoint.size, proof.hashes, checkpoint.root)


def test_the_conditions_read_back() -> None:
    known = vectors.read("policy-conditions")
    assert Policy.decode(known["payload"].encode()).digest == known["digest"]


def test_policy_promotion_and_receipt_verify() -> None:
    known = vectors.read("policy")
    roots = {keyid: PublicKey.from_pem(pem) for keyid, pem in known["root_keys"].items()}
    chain = [Envelope.decode(envelope.encode()) for envelope in known["envelopes"]]
    history = open_policy_history(chain, roots, known["threshold"])
    assert [policy.digest for policy in history] == known["digests"]
    by_digest = {policy.digest: policy for policy in history}
    moved = vectors.read("promotion")
    for name in ("promotion", "rollback"):
        bundle = PointerBundle.decode(moved[name].encode())
        verify_pointer(bundle, by_digest, history[-1], moved["publisher"], NOW)
    verify_freshness(Envelope.decode(moved["freshness"].encode()), history[-1], NOW)
    for name in ("receipt", "receipt-v2"):
        receipt = Receipt.decode(vectors.read(name)["receipt"].encode())
        assert verify_receipt(receipt, history[0]).fields["principal"] == "carla"
