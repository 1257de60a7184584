"""The console in a real Chromium: its content security policy, accessibility, and no script."""

from collections.abc import Iterator
from importlib.resources import files

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.support.harness.clients.browser import chromium

_SECONDS = 60
ORIGIN = "house.localhost/answers"
PAGES = (
    "/",
    "/models/digits",
    "/models/digits?from=1",
    "/models/digits/aliases/production",
    "/models/digits/aliases/production/live",
    "/models/digits/versions/1",
    "/models/digits/versions/2",
    "/models/digits/versions/1/reach",
    "/proposals",
    "/proposals/{proposal}",
    "/audit",
    "/audit?principal=client&model=digits",
    f"/audit/entries/0?log={ORIGIN}&chain=1",
    "/audit/verify",
    "/audit/pack",
    "/policy/draft",
    "/people",
    "/people/admin?action=promote",
    "/sessions",
    "/passkeys",
    "/models/nothing",
    "/sign-in",
)


@pytest.fixture(scope="module")
def served(console) -> Iterator[str]:
    with console.serving():
        yield console.origin


@pytest.fixture(scope="module")
def browser(tmp_path_factory, served, console) -> Iterator[Chrome]:
    """Signed in as the auditor, through the link that a person is given."""
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        driver.get(served + console.link("auditor"))
        driver.find_element(By.CSS_SELECTOR, "button.primary").click()
        wait(driver, lambda: driver.title.startswith("Overview"))
        yield driver


def wait(driver, ready) -> None:
    WebDriverWait(driver, _SECONDS, 0.01).until(lambda _: ready())


def test_no_page_breaks_the_content_security_policy(browser, served, proposal):
    browser.get_log("browser")
    for page in PAGES:
        browser.get(served + page.format(proposal=proposal))
        assert browser.find_element(By.TAG_NAME, "h1").text
        complaints = [line["message"] for line in browser.get_log("browser")]
        missing = [line for line in complaints if "status of 404" in line]
        assert [line for line in complaints if line not in missing] == [], page


def test_a_violation_would_be_seen(browser, served):
    """So that the test above can fail."""
    browser.get(served + "/people")
    browser.get_log("browser")
    browser.execute_script(
        "const style = document.createElement('style'); style.textContent = 'p {}';"
        "document.head.append(style);"
    )
    wait(browser, lambda: any("Content Security" in x["message"] for x in _log(browser)))


def _log(browser):
    return browser.get_log("browser")


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_axe_finds_nothing_serious_on_any_page(browser, served, proposal, scheme):
    script = (files("axe_core_python") / "axe.min.js").read_text()
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    for page in PAGES[::2] if scheme == "dark" else PAGES:
        browser.get(served + page.format(proposal=proposal))
        browser.execute_cdp_cmd("Runtime.evaluate", {"expression": script})
        # The palette alone is another in the dark.
        only = {"runOnly": ["color-contrast"]} if scheme == "dark" else {}
        run = "axe.run(arguments[0]).then(arguments[1])"
        found = browser.execute_async_script(run, only)["violations"]
        serious = [v["id"] for v in found if v["impact"] in ("serious", "critical")]
        assert serious == [], page


def test_times_are_shown_in_utc_with_the_readers_own_beside(browser, served):
    browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Kolkata"})
    browser.get(served + "/people")
    wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "time .local"))
    text = browser.find_element(By.TAG_NAME, "time").text
    assert "UTC" in text
    assert "here" in text


def test_the_logs_are_verified_with_progress_on_the_page(browser, served):
    browser.get(served + "/audit/verify")
    browser.find_element(By.CSS_SELECTOR, "main button.primary").click()
    wait(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, "#state .chip.good")) == 2)
    assert "lead to the signed root" in browser.find_element(By.ID, "state").text


def test_a_narrow_window_scrolls_tables_and_not_the_page(browser, served, gateway, proposal):
    gateway.governance("approver-2").comment(proposal, "x" * 200)
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        for page in PAGES:
            browser.get(served + page.format(proposal=proposal))
            width = browser.execute_script("return document.documentElement.scrollWidth")
            assert width <= 390, page
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_what_is_printed_is_dark_on_white_and_has_no_forms(browser, served, proposal):
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    ink = "return getComputedStyle(document.documentElement).getPropertyValue('--ink')"
    seen = "return [...document.forms].filter(form => form.offsetParent).length"
    found = {}
    try:
        for media in ("screen", "print"):
            browser.execute_cdp_cmd(
                "Emulation.setEmulatedMedia", {"media": media, "features": features}
            )
            browser.get(f"{served}/proposals/{proposal}")
            found[media] = browser.execute_script(ink).strip(), browser.execute_script(seen)
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    assert found["screen"][1] > 0
    assert found["print"][1] == 0
    assert found["print"][0] != found["screen"][0]


def test_reading_needs_no_script(browser, served, proposal):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(served + "/")
        browser.find_element(By.LINK_TEXT, "Proposals").click()
        browser.find_element(By.PARTIAL_LINK_TEXT, "digits 2 for production").click()
        assert "Approvals: 1 of 2" in browser.find_element(By.TAG_NAME, "main").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_the_page_is_reached_by_keyboard_past_the_navigation(browser, served):
    browser.get(served + "/people")
    keys = {"type": "keyDown", "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
    browser.execute_cdp_cmd("Input.dispatchKeyEvent", keys)
    first = browser.switch_to.active_element
    assert first.text == "Skip to content"
    first.send_keys("\n")
    assert browser.switch_to.active_element.get_attribute("id") == "main"
