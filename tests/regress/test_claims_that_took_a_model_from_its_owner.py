"""Claims that once won over the owner's, or spoilt it: with weights picked to fit, a commitment to
something else, neurons moved, or an original that nobody can read.
"""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save

from publishing.watermark.key import Mark
from publishing.watermark.ownership import Claim
from sealgate.trust.digest import sha256
from tests.support.marked import marked, network
from tests.support.owner import THIEF, Owner, settled


@pytest.fixture(name="owner")
def _owner() -> Owner:
    return Owner()


def test_an_original_that_is_no_model_loses_alone(owner: Owner) -> None:
    theirs = Mark(THIEF, b"evil", sha256(b"no model"))
    mine, thief = settled(owner.marked, owner.claim(), owner.thief(theirs, b"no model"))
    assert (mine.step, thief.step) == (0, 2)


def test_weights_picked_after_the_fact_lose(owner: Owner) -> None:
    # Of many matrices, those that happen to agree with a key would read as a mark.
    record = replace(owner.record, slots=owner.record.slots[1:])
    (finding,) = settled(owner.marked, replace(owner.claim(), proof=owner.log.prove(record)))
    assert (finding.step, finding.z) == (2, 0)


def test_a_mark_of_something_else_committed_to_beforehand_loses() -> None:
    # They commit to a key and to any network of the shape, wait, and write over what comes out.
    waiting = save(network(9))
    theirs = Mark(THIEF, b"evil", sha256(waiting))
    owner = Owner(before=theirs)
    both, _ = marked(owner.marked, theirs)
    early = replace(owner.record, mark=theirs, entry=0)
    thief = Claim(owner.log.prove(early), "theirs.safetensors", waiting)
    first, second = settled(both, owner.claim(), thief)
    assert (first.step, second.step) == (0, 4)
    assert second.entry < first.entry


def test_neurons_put_in_another_order_hide_nothing(owner: Owner) -> None:
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
