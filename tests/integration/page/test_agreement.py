"""The page and verify_receipt say the same, of odd receipts and of those altered anywhere."""

import random

from sealgate.reasons import SealgateError
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.trust.receipts.answer_entry import FIELDS
from sealgate.trust.transparency import Checkpoint, TlogProof, merkle, note, sign_checkpoint
from tests.support.builders.documents.people import ANSWER_LOG, key
from tests.support.builders.documents.receipts import (
    ENTRY,
    SIZE,
    policy_in_force,
    proof_of,
    receipt,
)
from tests.support.builders.documents.vectors import V1_VALUES

ALTERATIONS = 400
_CHARACTERS = '0123456789abcdefABZ+/=\\n "{}:,é\u2014\ud7ff'
_CHECK = """
const [texts, done] = arguments;
const trust = { policies: pinned.policies, rootKeys: pinned.root_keys, threshold: 2 };
Promise.all(texts.map((text) => checkReceipt(trust, text, new Date())))
  .then((results) => done(results.map((result) => result.state === "holds")));
"""


def both(page, file, texts):
    """Return the page's verdict on each receipt, which must equal that of verify_receipt."""
    page.open(file)
    found = page.driver.execute_async_script(_CHECK, texts)
    assert found == [accepted(text) for text in texts]
    return found


def accepted(text: str) -> bool:
    try:
        verify_receipt(Receipt.decode(text.encode("utf-8")), policy_in_force())
    except SealgateError:
        return False
    return True


def alterations(text: str) -> list[str]:
    """The text with one character exchanged, left out, put in or doubled, at random places."""
    dice = random.Random(20)  # noqa: S311
    made = []
    while len(made) < ALTERATIONS:
        at, new = dice.randrange(len(text)), dice.choice(_CHARACTERS)
        other = dice.choice([new, new, "", new + text[at], text[at] * 2])
        made += [text[:at] + other + text[at + 1 :]] * (other != text[at])
    return made


def test_an_alteration_anywhere_is_noticed_by_both(page, carrying):
    assert both(page, carrying, alterations(receipt())) == [False] * ALTERATIONS


def test_receipts_of_v1_are_accepted_and_refused_by_both(page, carrying):
    older = receipt(values=V1_VALUES)
    texts = [older, older.replace("receipt/v1", "receipt/v2"), receipt()]
    assert both(page, carrying, texts) == [True, False, True]
    assert both(page, carrying, alterations(older)) == [False] * ALTERATIONS


def test_odd_values_hold_for_both(page, carrying):
    odd = ('"\\\t\n\x01\x7f', "ü€😀", "\u2028\ufeff", "\\ud800", "</script><!--", "", "e\u0301")
    texts = [receipt(fields=FIELDS, values=(value,) * len(FIELDS)) for value in odd]
    assert both(page, carrying, texts) == [True] * len(odd)


def test_a_witness_may_have_signed_too(page, carrying):
    proof = proof_of()
    text = proof.checkpoint_note.rpartition("\n\n")[0] + "\n"
    line = note.sign_note(text, "witness.example", key("witness")).rpartition("\n\n")[2]
    twice = proof.checkpoint_note.rpartition("\n\n")[2]
    texts = [
        receipt(TlogProof(proof.index, proof.hashes, proof.checkpoint_note + more))
        for more in (line, line + line, twice, "\n")
    ]
    assert both(page, carrying, texts) == [True, False, False, False]


def test_every_place_of_a_log_is_reached(page, carrying):
    """Also the last one, whose path is short, for it has no sibling on its way up."""
    proofs = [proof_of(index=index) for index in range(SIZE)]
    assert both(page, carrying, [receipt(proof) for proof in proofs]) == [True] * SIZE


def test_positions_beyond_32_bits_are_followed(page, carrying):
    index, levels = 0b1011 << 37 | 0b1101, 45
    siblings = [merkle.leaf_hash(b"sibling %d" % level) for level in range(levels)]
    root = merkle.leaf_hash(ENTRY)
    for level, sibling in enumerate(siblings):
        pair = (sibling, root) if index >> level & 1 else (root, sibling)
        root = merkle.node_hash(*pair)
    signed = sign_checkpoint(Checkpoint(ANSWER_LOG, 1 << levels, root), key("answer-log"))
    texts = [receipt(TlogProof(place, tuple(siblings), signed)) for place in (index, index + 1)]
    assert both(page, carrying, texts) == [True, False]
