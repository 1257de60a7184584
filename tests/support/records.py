"""Answers to record, where what they say does not matter."""

from registry.log.answer_log import Answer, Opening
from sealgate.trust import answer


def an_answer(subject: str = "subject") -> Answer:
    values = answer.FIELDS
    nonce = subject.encode().ljust(16)
    leaf = answer.leaf(values, answer.salts(b"key", nonce))
    return Answer(leaf, Opening(values, nonce, subject))
