"""Checks COSE receipts and transparent statements with `scitt-cose`: JSON in, JSON out."""

import json
import sys

from scitt_cose import (
    ReceiptResult,
    extract_receipts,
    parse_signed_statement,
    verify_receipt,
)


def _receipt(data: bytes, entry: str, key: str) -> ReceiptResult:
    return verify_receipt(data, leaf_entry_hex=entry, log_public_key_pem=key)


def _case(case: dict[str, str]) -> dict[str, object]:
    data = bytes.fromhex(case["data"])
    if case["kind"] == "receipt":
        result = _receipt(data, case["entry"], case["key"])
        return {
            "ok": result.ok,
            "size": result.tree_size,
            "index": result.leaf_index,
            "issuer": result.issuer,
            "subject": result.subject,
        }
    parsed = parse_signed_statement(data, public_key_pem=case["key"])
    payload = (parsed["payload"] or b"").hex()
    receipts = [_receipt(each, payload, case["key"]).ok for each in extract_receipts(data)]
    return {
        "ok": parsed["signature_verified"] is True and receipts == [True],
        "payload": payload,
        "issuer": parsed["issuer"],
        "subject": parsed["subject"],
        "type": parsed["content_type"],
    }


json.dump([_case(case) for case in json.load(sys.stdin)], sys.stdout)
