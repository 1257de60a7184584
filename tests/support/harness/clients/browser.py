"""A real browser, headless, and the page for one receipt as its reader uses it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.support.oracles.programs import program

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=960,1200",
)
_SECONDS = 60


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """The Chromium of this machine, with an empty profile; skips or fails where there is none."""
    options = ChromeOptions()
    options.binary_location = program("chromium")
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    driver = Chrome(options, Service(program("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


class ReceiptPage:
    """The page in an open browser: what can be done on it, and what it shows."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, path: Path) -> None:
        self.driver.get(path.as_uri())
        self.wait(lambda: self.headline != "")

    def choose(self, *paths: Path) -> None:
        """Through the file chooser's own element."""
        self.find("#files").send_keys("\n".join(map(str, paths)))

    def drop(self, *paths: Path) -> None:
        """As the browser itself does when files are dragged onto a window."""
        box = self.find("#drop").rect
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        data = {"items": [], "files": list(map(str, paths)), "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            event = {"type": kind, **place, "data": data}
            self.driver.execute_cdp_cmd("Input.dispatchDragEvent", event)

    def paste(self, text: str) -> None:
        """Into the field for text, all at once."""
        self.driver.execute_script(
            "const field = document.getElementById('paste'); field.value = arguments[0];"
            "field.dispatchEvent(new Event('input'));",
            text,
        )

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def wait(self, ready: Any) -> None:
        WebDriverWait(self.driver, _SECONDS, 0.01).until(lambda _: ready())

    @property
    def state(self) -> str:
        """`waiting`, `holds`, `broken` or `unchecked`."""
        return str(self.find("#verdict").get_attribute("data-state"))

    @property
    def headline(self) -> str:
        return str(self.find("#verdict .headline").text)

    def verdict(self) -> str:
        """The verdict, once there is one."""
        self.wait(lambda: self.state != "waiting")
        return self.state

    def steps(self) -> dict[str, str]:
        """Each step's state by its id, such as `receipt-4b`, in the order shown."""
        return self._states("[data-step]", "step")

    def fields(self) -> dict[str, str]:
        return self._states("[data-field]", "field")

    def levels(self) -> list[str]:
        """The hash reached at each level of the inclusion path."""
        rows = self.driver.find_elements(By.CSS_SELECTOR, "[data-level]")
        return [str(row.find_elements(By.TAG_NAME, "code")[1].text) for row in rows]

    def says(self, step: str) -> str:
        return str(self.find(f"[data-step={step}] .says").text)

    def _states(self, selector: str, name: str) -> dict[str, str]:
        script = (
            "return [...document.querySelectorAll(arguments[0])]"
            ".map((item) => [item.dataset[arguments[1]], item.dataset.state])"
        )
        return dict(self.driver.execute_script(script, selector, name))
