"""Receipts: the proof, complete in itself, that an answer or a refusal was recorded."""

from sealgate.trust.receipts.receipt import (
    CALLER_FIELDS,
    Receipt,
    VerifiedReceipt,
    encode_caller_receipt,
    receipt_path,
    receipt_tail,
    verify_by_history,
    verify_receipt,
)

__all__ = [
    "CALLER_FIELDS",
    "Receipt",
    "VerifiedReceipt",
    "encode_caller_receipt",
    "receipt_path",
    "receipt_tail",
    "verify_by_history",
    "verify_receipt",
]
