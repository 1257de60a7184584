"""The signed formats of Sealgate and the checks of them: pure code without network or database.

- `keys`: signing keys and the identity that a certificate proves.
- `policy`: the signed root document, which names people, keys, roles and rules.
- `statements`: what people and services sign (proposals, approvals, pointers, evidence).
- `transparency`: Merkle logs, signed checkpoints and witnesses' cosignatures (C2SP formats).
- `receipts`: the proof that an answer or a refusal was recorded.
"""
