"""Events, as CloudEvents 1.0: their kinds, and what a destination's body looks like.

A message is JSON with placeholders in its texts. They are filled in after the JSON was read, so
that no event can change its structure, and escaped as the chat asks.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

from sealgate.settings import ConfigError
from sealgate.trust import canonical

CLOUDEVENTS_TYPE = "application/cloudevents+json; charset=utf-8"
_NAMES = ("id", "kind", "title", "subject", "model", "time", "principal", "detail")
_LONGEST = 500

# Texts in `plain_text` and in `TextRun` are shown as they are: neither links nor mentions.
_SLACK = {
    "text": "$title: $subject",
    "blocks": [
        {"type": "header", "text": {"type": "plain_text", "text": "$title", "emoji": False}},
        {
            "type": "section",
            "fields": [
                {"type": "plain_text", "text": "$subject", "emoji": False},
                {"type": "plain_text", "text": "by $principal", "emoji": False},
                {"type": "plain_text", "text": "$time", "emoji": False},
                {"type": "plain_text", "text": "$detail", "emoji": False},
            ],
        },
    ],
}
PREFIX = "sealgate."
"""The beginning of a CloudEvent's type, before the kind."""

KINDS: Mapping[str, str] = {
    "version.registered": "A version was registered",
    "version.revoked": "A version was revoked",
    "proposal.opened": "A promotion was proposed",
    "proposal.approved": "A proposal was approved",
    "proposal.rejected": "A proposal was rejected",
    "proposal.withdrawn": "A proposal was withdrawn",
    "proposal.commented": "A proposal was commented on",
    "alias.promoted": "An alias moved to a version",
    "alias.rolled-back": "An alias was rolled back",
    "alias.rolled-back-automatically": "An alias was rolled back automatically",
    "screening.bound-withdrawn": "The bound on screening's false alarms was withdrawn",
    "session.flagged": "A caller's requests look like an attack",
    "log.inconsistent": "A log is inconsistent",
    "witness.disagrees": "A witness disagrees with a log",
    "certificate.expiring": "A certificate expires soon",
    "policy.expiring": "The policy expires soon",
    "policy.accepted": "A policy was accepted",
    "model.created": "A model was created",
    "watermark.committed": "A watermark was committed",
}
"""Each kind, with its title."""


def _line(text: str, **look: Any) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **look}]}


_TEAMS = {
    "type": "message",
    "attachments": [
        {
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": None,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [
                    _line("$title", weight="Bolder", size="Medium"),
                    _line("$subject"),
                    _line("by $principal, $time", isSubtle=True),
                    _line("$detail"),
                ],
            },
        }
    ],
}


def _slack_escaped(text: str) -> str:
    # What Slack asks to be escaped wherever a text may be marked up.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_TEMPLATES: Mapping[str, tuple[Any, Callable[[str], str]]] = {
    "slack": (_SLACK, _slack_escaped),
    "teams": (_TEAMS, str),
}


@dataclass(frozen=True, slots=True)
class Format:
    """Makes bodies. `template` is JSON with placeholders; None: the event as it is."""

    template: Any
    escaped: Callable[[str], str]

    @classmethod
    def of(cls, name: str, path: Path | None) -> "Format":
        """The format of that name, with the template at `path` in place of its own.

        Raises: ConfigError.
        """
        own, escaped = _TEMPLATES.get(name, (None, str))
        if path is None:
            return cls(own, escaped)
        try:
            template = json.loads(path.read_bytes())
            _filled(template, dict.fromkeys(_NAMES, ""))
        except (OSError, ValueError, KeyError, RecursionError) as error:
            raise ConfigError(f"template {path}: {type(error).__name__}: {error}") from None
        return cls(template, escaped)

    def body(self, event: bytes) -> bytes:
        """The body that tells of a CloudEvent."""
        if self.template is None:
            return event
        values = {name: self.escaped(text) for name, text in _values(json.loads(event)).items()}
        return json.dumps(_filled(self.template, values), ensure_ascii=False).encode()


def _values(event: Mapping[str, Any]) -> dict[str, str]:
    data = event["data"]
    kind = event["type"].removeprefix(PREFIX)
    values = {
        "id": event["id"],
        "kind": kind,
        "title": KINDS.get(kind, kind),
        "subject": event["subject"],
        "model": event.get("partitionkey", ""),
        "time": event["time"],
        "principal": data.get("principal", ""),
        "detail": data.get("reason") or data.get("detail", ""),
    }
    # Chats refuse texts that are empty.
    return {name: _printable(str(text)) or "-" for name, text in values.items()}


def _printable(text: str) -> str:
    """One bounded line: chats refuse long texts."""
    shown = "".join(char if char.isprintable() else " " for char in text)
    return shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "…"


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    """The template with its texts filled in; names of members stay. Raises KeyError, ValueError for
    placeholders that there are not.
    """
    if isinstance(value, str):
        return Template(value).substitute(values)
    if isinstance(value, list):
        return [_filled(item, values) for item in value]
    if isinstance(value, dict):
        return {name: _filled(item, values) for name, item in value.items()}
    return value


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """Something that happened. `id` is the same whenever it is told again; with `source`, it tells
    the event from all others. `model` is empty where it is about none.
    """

    id: str
    source: str
    kind: str
    subject: str
    time: str
    model: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The event in the JSON format of CloudEvents 1.0, as canonical JSON."""
        event = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": PREFIX + self.kind,
            "subject": self.subject,
            "time": self.time,
            "datacontenttype": "application/json",
            "data": dict(self.data),
        }
        # The extension "partitioning": events of one model come in order.
        partition = {"partitionkey": self.model} if self.model else {}
        return canonical.encode(event | partition)
