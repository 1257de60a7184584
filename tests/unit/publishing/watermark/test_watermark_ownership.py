"""Claims on one file: the owner's wins, and those of three kinds of thieves lose."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from publishing.watermark.correlation import correlate, numbered, whiten
from publishing.watermark.graph_marking import EmbeddingStrength
from publishing.watermark.key import Mark, WatermarkKey
from publishing.watermark.ownership import OwnershipClaim, OwnershipProof
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from sealgate.trust.keys import PrivateKey
from tests.support.builders.marked import KEY, marked, network
from tests.support.builders.model_owner import THIEF, VKEY, ModelOwner, settled


@pytest.fixture(name="owner")
def _owner() -> ModelOwner:
    return ModelOwner()


def test_a_lone_claim_that_holds(owner: ModelOwner) -> None:
    (finding,) = settled(owner.marked, owner.claim())
    assert (finding.step, finding.entry) == (0, 1)
    assert finding.z > 40
    assert finding.time == "2026-11-25T10:00:01Z"


def test_a_key_ground_after_the_fact_loses(owner: ModelOwner) -> None:
    original = save(network(5))
    codes = [
        Mark(WatermarkKey("stolen", n.to_bytes(32, "big")), b"mine", sha256(original))
        for n in range(200)
    ]
    hosts = [whiten(value) for value in owner.marked.values()]
    places = list(numbered(host.shape for host in hosts))

    def z(mark: Mark) -> float:
        code = mark.code(worded=False)
        found = [correlate(h, code, *place) for h, place in zip(hosts, places, strict=True)]
        return sum(f.products[0] for f in found) / np.sqrt(sum(f.energies[0] for f in found))

    best = max(codes, key=z)
    assert z(best) > 2
    mine, theirs = settled(owner.marked, owner.claim(), owner.thief(best, original, worded=False))
    assert (mine.step, theirs.step) == (0, 3)


def test_a_mark_written_over_ours_loses(owner: ModelOwner) -> None:
    # They mark what they stole, and show what they stole as their original.
    original = save(owner.marked)
    theirs = Mark(THIEF, b"evil", sha256(original))
    both, _ = marked(owner.marked, theirs)
    mine, thief = settled(both, owner.claim(), owner.thief(theirs, original))
    assert (mine.step, thief.step) == (0, 6)
    assert "entry 1" in thief.why


def test_an_inverted_mark_loses(owner: ModelOwner) -> None:
    # They take a mark of their own out of what they stole, and call the rest their original.
    code = Mark(THIEF, b"evil", sha256(b"")).code(worded=True)
    hosts = list(owner.marked.values())
    less = EmbeddingStrength(code, np.full(code.bits, -0.2))
    original = save(dict(zip(owner.marked, less.apply(hosts), strict=True)))
    theirs = Mark(THIEF, b"evil", sha256(original))
    # The thief claims that the published file has their mark, and adds the rest of it.
    more = EmbeddingStrength(code, np.full(code.bits, 0.2))
    disputed = dict(zip(owner.marked, more.apply(hosts), strict=True))
    mine, thief = settled(disputed, owner.claim(), owner.thief(theirs, original))
    assert (mine.step, thief.step) == (0, 6)


def test_a_later_commitment_of_an_independent_mark_loses(owner: ModelOwner) -> None:
    # Somebody who had the unmarked file too, by whatever way.
    theirs = Mark(THIEF, b"evil", sha256(owner.original))
    both, _ = marked(owner.marked, theirs)
    mine, later = settled(both, owner.claim(), owner.thief(theirs, owner.original))
    assert (mine.step, later.step) == (0, 7)


def test_an_original_that_has_its_own_mark_already_loses(owner: ModelOwner) -> None:
    original = save(owner.marked)
    mark = Mark(KEY, b"mine", sha256(original))
    (finding,) = settled(owner.marked, owner.thief(mark, original))
    assert finding.step == 5


def test_another_original_than_the_one_committed_to_loses(owner: ModelOwner) -> None:
    (finding,) = settled(owner.marked, replace(owner.claim(), unmarked=save(network(3))))
    assert finding.step == 2


def test_what_the_log_does_not_hold_loses(owner: ModelOwner) -> None:
    claim = owner.claim()
    other = replace(claim.proof, mark=Mark(KEY, b"else", sha256(owner.original)))
    unsigned = owner.log.prove(owner.record, PrivateKey.generate())
    elsewhere = replace(claim.proof, entry=owner.log.leaves[0])
    for proof in (other, unsigned, elsewhere):
        (finding,) = settled(owner.marked, replace(claim, proof=proof))
        assert finding.step == 1
    with pytest.raises(SealgateError) as refused:
        other.check(VKEY)
    assert refused.value.reason is Reason.PROOF_INVALID


def test_a_proof_comes_back_from_its_file(owner: ModelOwner, tmp_path: Path) -> None:
    proof = owner.claim().proof
    assert OwnershipProof.decode(proof.encode()) == proof
    assert proof.check(VKEY).index == 1
    with pytest.raises(SealgateError) as refused:
        OwnershipProof.decode(proof.encode()[:-1])
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


def test_a_claim_with_an_unreadable_original_loses(owner: ModelOwner) -> None:
    theirs = Mark(THIEF, b"evil", sha256(b"no model"))
    mine, thief = settled(owner.marked, owner.claim(), owner.thief(theirs, b"no model"))
    assert (mine.step, thief.step) == (0, 2)


def test_weights_chosen_after_the_fact_lose(owner: ModelOwner) -> None:
    # Of many matrices, those that happen to agree with a key would read as a mark.
    record = replace(owner.record, slots=owner.record.slots[1:])
    (finding,) = settled(owner.marked, replace(owner.claim(), proof=owner.log.prove(record)))
    assert (finding.step, finding.z) == (2, 0)


def test_an_earlier_commitment_to_another_mark_loses() -> None:
    # They commit to a key and to any network of the shape, wait, and write over what comes out.
    waiting = save(network(9))
    theirs = Mark(THIEF, b"evil", sha256(waiting))
    owner = ModelOwner(before=theirs)
    both, _ = marked(owner.marked, theirs)
    early = replace(owner.record, mark=theirs, entry=0)
    thief = OwnershipClaim(owner.log.prove(early), "theirs.safetensors", waiting)
    first, second = settled(both, owner.claim(), thief)
    assert (first.step, second.step) == (0, 4)
    assert second.entry < first.entry


def test_reordered_neurons_do_not_hide_the_mark(owner: ModelOwner) -> None:
    rng = np.random.default_rng(4)
    stolen = {
        name: values[np.ix_(*(rng.permutation(size) for size in values.shape[:2]))]
        for name, values in owner.marked.items()
    }
    original = save(stolen)
    theirs = Mark(THIEF, b"evil", sha256(original))
    both, _ = marked(stolen, theirs)
    mine, thief = settled(both, owner.claim(), owner.thief(theirs, original))
    assert (mine.step, thief.step) == (0, 6)
