"""Reads the text of an e-mail."""

import email
import email.policy
import re

_TAGS = re.compile(r"<[^>]{0,500}>")


def body(raw: str) -> str:
    """An e-mail's subject and its first text, without tags; no header tells more."""
    message = email.message_from_string(raw, policy=email.policy.compat32)
    parts = [part for part in message.walk() if part.get_content_maintype() == "text"]
    payload = parts[0].get_payload(decode=True) if parts else b""
    content = payload.decode("latin-1") if isinstance(payload, bytes) else ""
    return f"{message.get('subject', '')}\n{_TAGS.sub(' ', content)}".replace("\0", " ")
