"""Receipts: the proof, complete in itself, that an answer or a refusal was recorded."""

from sealgate.trust.receipts.receipt import (
    CALLER_FIELDS,
    Receipt,
    ReceiptGroup,
    VerifiedReceipt,
    verify_receipt,
)

__all__ = [
    "CALLER_FIELDS",
    "Receipt",
    "ReceiptGroup",
    "VerifiedReceipt",
    "verify_receipt",
]
