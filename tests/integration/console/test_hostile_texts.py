"""Texts that others chose, on the console's pages in a real Chromium: none of them is markup."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.support.harness.clients.browser import chromium

_SECONDS = 60
MARKUP = (
    "\"'><img src=x onerror=\"document.title='taken'\"><b id=injected>x</b>"
    "<script>document.title='taken'</script></textarea></title><svg onload=alert(1)>"
    "{{7*7}}${7*7} javascript:alert(1)"
)
UNSEEN = ("\u202e", "\u200b", "\u2066", "\x07")


@pytest.fixture(scope="module")
def browser(tmp_path_factory, console) -> Iterator[Chrome]:
    """Signed in as the auditor, whose browser bears a hostile name."""
    with console.serving(), chromium(tmp_path_factory.mktemp("chromium")) as driver:
        driver.execute_cdp_cmd("Network.setUserAgentOverride", {"userAgent": MARKUP})
        driver.get(console.origin + console.link("auditor"))
        driver.find_element(By.CSS_SELECTOR, "button.primary").click()
        WebDriverWait(driver, _SECONDS).until(lambda _: driver.title.startswith("Overview"))
        yield driver


@pytest.fixture(scope="module")
def commented(gateway, proposal) -> str:
    """A proposal with a hostile comment."""
    gateway.governance("approver-2").comment(proposal, MARKUP)
    return proposal


@pytest.mark.parametrize("page", ["/proposals/{proposal}", "/sessions"])
def test_a_stored_text_is_shown_as_it_is(browser, console, commented, page):
    browser.get(console.origin + page.format(proposal=commented))
    shown = browser.find_element(By.TAG_NAME, "main").get_property("textContent")
    assert "<b id=injected>" in shown
    assert_nothing_was_taken(browser)


@pytest.mark.parametrize(
    "page",
    [
        "/models/{text}",
        "/models/digits/versions/{text}",
        "/people/{text}",
        "/audit?principal={text}&model={text}",
        "/audit/entries/0?log={text}&chain={text}",
        "/proposals/{text}",
        "/people/admin?action={text}",
        "/{text}",
    ],
)
def test_a_text_of_the_address_is_no_markup(browser, console, page):
    text = quote(MARKUP.replace("/", "") + "".join(UNSEEN), safe="")
    browser.get(console.origin + page.format(text=text))
    assert browser.find_element(By.TAG_NAME, "h1").text
    assert_nothing_was_taken(browser)


def assert_nothing_was_taken(browser: Chrome) -> None:
    assert "taken" not in browser.title
    assert not browser.find_elements(By.ID, "injected")
    assert not [mark for mark in UNSEEN if mark in browser.page_source]
    complaints = [line["message"] for line in browser.get_log("browser")]
    assert [line for line in complaints if "Content Security" in line] == []
