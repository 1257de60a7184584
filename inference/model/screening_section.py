"""The section `screening` of `model.json`: how the model's response is measured.

    {"eps": 0.01}                                for numbers; `units`, `response` and `image` may
    {"eps": 0.01, "units": "columns",            be absent
     "response": "differences", "image": [h, w]}
    {"eps": 0.01, "blocks": true}                for texts; `blocks` may be absent

`eps` is the small step with which the model's response is measured, not the size of an attack. It
is in the units of the rows; with "units": "columns", steps and attacks are shares of each column's
own range, which all columns must then state; for texts, it is in units of the word embeddings. With
"response": "differences", the response is measured by finite differences, since the model has no
gradient. "image": [height, width] says that rows are images, channel by channel, also if a row is
one vector: publishing then shows the detector how a camera or scanner changes them. Verdicts of a
text model do not block, unless "blocks" is true (ADR 17).
"""

from dataclasses import dataclass
from typing import Any

from inference.model.columns import number
from sealgate.trust import fields

_BY_COLUMN, _DIFFERENCES = "columns", "differences"


@dataclass(frozen=True, slots=True)
class ScreeningSection:
    """The fields of the section. `relative` is "units": "columns".

    `differences` is "response": "differences". `image` is a height and a width.
    """

    eps: float
    blocks: bool = True
    relative: bool = False
    differences: bool = False
    image: tuple[int, int] | None = None

    def encode(self, text: bool) -> dict[str, Any]:
        """Return the section's JSON object; `text` says whether the model takes tokens."""
        value: dict[str, Any] = {"eps": self.eps}
        if text and self.blocks:
            value["blocks"] = True
        if self.relative:
            value["units"] = _BY_COLUMN
        if self.differences:
            value["response"] = _DIFFERENCES
        if self.image is not None:
            value["image"] = list(self.image)
        return value

    @classmethod
    def decode(cls, value: Any, text: bool) -> "ScreeningSection":
        """Read what `encode` made. Raises SealgateError(DOCUMENT_MALFORMED)."""
        options = {"blocks": True} if text else {"units": _BY_COLUMN, "response": _DIFFERENCES}
        given = value if isinstance(value, dict) else {}
        stated, sizes = [name for name in options if name in given], ("image",) * ("image" in given)
        item = fields.record(value, ("eps", *stated, *sizes))
        for name in stated:
            if item[name] != options[name] or type(item[name]) is not type(options[name]):
                raise fields.malformed(f'"{name}" is stated only if it is not the default')
        return cls(
            eps=number(item["eps"]),
            blocks="blocks" in stated or not text,
            relative="units" in stated,
            differences="response" in stated,
            image=_image(item) if sizes else None,
        )


def _image(item: dict[str, Any]) -> tuple[int, int]:
    sizes = [fields.integer(size, least=2) for size in fields.items(item["image"])]
    if len(sizes) != 2:
        raise fields.malformed("an image has a height and a width")
    return sizes[0], sizes[1]
