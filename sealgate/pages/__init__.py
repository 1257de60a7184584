"""The web page that checks a receipt in a browser, without network."""

from sealgate.pages.offline import Case, CaseStep, PagePins, decision_page, receipt_page

__all__ = [
    "Case",
    "CaseStep",
    "PagePins",
    "decision_page",
    "receipt_page",
]
