from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from sealgate.pages.offline import PagePins, receipt_page
from tests.support.builders.documents.people import key, sign_policy
from tests.support.builders.documents.receipts import policy_in_force
from tests.support.harness.clients.browser import ReceiptPage, chromium


@pytest.fixture(scope="session")
def browser(tmp_path_factory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture(scope="session")
def page_file(tmp_path_factory):
    """Writes a page that carries these policies, and the three root keys of which two must sign."""
    folder = tmp_path_factory.mktemp("pages")
    roots = [key(f"root-{number}").public for number in range(3)]

    def write(*envelopes, roots=roots, threshold=2) -> Path:
        file = folder / f"page-{len(list(folder.iterdir()))}.html"
        pins = PagePins(envelopes, roots, threshold)
        file.write_text(receipt_page(pins), encoding="utf-8")
        return file

    return write


@pytest.fixture(scope="session")
def carrying(page_file) -> Path:
    """A page that carries a policy in force."""
    return page_file(sign_policy(policy_in_force()))


@pytest.fixture
def page(browser) -> ReceiptPage:
    return ReceiptPage(browser)
