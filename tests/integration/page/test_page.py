"""The page as a thing to use: how documents reach it, and what it never does."""

from contextlib import contextmanager

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from sealgate.trust.keys import PrivateKey
from tests.support.builders.documents.people import sign_policy
from tests.support.builders.documents.receipts import ROOT_PEMS, altered, policy_in_force, receipt
from tests.support.harness.gateway import ROOT

BLANK = ROOT / "docs" / "receipt.html"


def forged() -> str:
    def change(value):
        value["opened"]["outcome"]["value"] = "refused"

    return altered(change)


@pytest.fixture
def files(tmp_path):
    """A receipt, a forged one, the policy and the root keys, as files on the reader's disk."""
    documents = {
        "receipt.json": receipt(),
        "forged.json": forged(),
        "policy.json": sign_policy(policy_in_force()).encode().decode(),
        "later.json": sign_policy(policy_in_force(version=2)).encode().decode(),
        "note.txt": "hello",
    }
    documents |= {f"root-{number}.pem": pem for number, pem in enumerate(ROOT_PEMS)}
    for name, text in documents.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("way", ["choose", "drop"])
@pytest.mark.parametrize(("name", "state"), [("receipt.json", "holds"), ("forged.json", "broken")])
def test_a_file_is_chosen_or_dropped(page, carrying, files, way, name, state):
    page.open(carrying)
    getattr(page, way)(files / name)
    assert page.verdict() == state


def test_the_next_receipt_takes_the_place_of_the_last(page, carrying, files):
    page.open(carrying)
    for name, state in [("receipt.json", "holds"), ("forged.json", "broken")] * 2:
        page.choose(files / name)
        page.wait(lambda expected=state: page.state == expected)
    page.find("#again").click()
    page.wait(lambda: page.state == "waiting")
    assert not page.find("#report").is_displayed()


def test_a_page_without_a_policy_asks_for_all_it_needs(page, files):
    page.open(BLANK)
    wanted = "a receipt; the signed policy; your root keys; how many of your root keys must have"
    assert page.headline.startswith(f"Still wanted: {wanted}")
    page.choose(files / "receipt.json")
    page.wait(lambda: "a receipt" not in page.headline)
    page.drop(files / "later.json", files / "policy.json")
    page.wait(lambda: "the signed policy" not in page.headline)
    page.choose(*(files / f"root-{number}.pem" for number in range(3)))
    page.wait(lambda: page.headline.startswith("Still wanted: how many"))
    page.find("#threshold").send_keys("2")
    assert page.verdict() == "holds"
    assert page.says("policy-3") == "They are 1, 2."
    page.find("#threshold").send_keys(Keys.BACKSPACE, "3")
    page.wait(lambda: page.state == "broken")
    assert page.says("policy-1") == "2 of your root keys have signed; 3 must have."


def test_everything_may_be_pasted(page, files):
    page.open(BLANK)
    page.find("#threshold").send_keys("2")
    for text in (*ROOT_PEMS, (files / "policy.json").read_text(), f"\n{receipt()}\n"):
        page.paste(text)
    assert page.verdict() == "holds"


def test_one_key_twice_is_one_key(page, files):
    page.open(BLANK)
    page.find("#threshold").send_keys("2")
    for text in (ROOT_PEMS[0], ROOT_PEMS[0], (files / "policy.json").read_text(), receipt()):
        page.paste(text)
    assert page.verdict() == "broken"
    assert page.says("policy-1") == "1 of your root keys have signed; 2 must have."


def test_a_page_with_root_keys_takes_no_others(page, page_file, files):
    """Or whoever forged a receipt could bring the keys that vouch for it."""
    stranger = PrivateKey.generate().public
    page.open(page_file(sign_policy(policy_in_force()), roots=[stranger], threshold=1))
    page.choose(*(files / f"root-{number}.pem" for number in range(3)))
    page.wait(lambda: "takes no others" in page.find("#complaint").text)
    page.choose(files / "receipt.json")
    assert page.verdict() == "broken"
    assert page.steps()["policy-1"] == "broken"


def test_a_newer_policy_may_be_dropped_on_a_page_that_carries_one(page, carrying, files):
    page.open(carrying)
    page.drop(files / "later.json", files / "receipt.json")
    assert page.verdict() == "holds"
    assert page.says("policy-2") == "So it is, for 1."


def test_what_is_none_of_these_is_named(page, carrying, files):
    page.open(carrying)
    page.choose(files / "note.txt")
    page.wait(lambda: page.find("#complaint").text.startswith("note.txt is not a receipt"))
    assert page.state == "waiting"


@contextmanager
def older(browser, script):
    """Runs a script before the page's own, which takes from the browser what it did not have."""
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    yield
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_without_webcrypto_nothing_passes(page, carrying, browser):
    with older(browser, "Object.defineProperty(crypto, 'subtle', { value: undefined });"):
        page.open(carrying)
        page.paste(receipt())
        assert page.verdict() == "unchecked"
        assert page.steps()["policy-1"] == page.steps()["receipt-1"] == "unchecked"
        assert "no WebCrypto" in page.find("#verdict .because").text
        assert {name for name, state in page.steps().items() if state == "holds"} == {"receipt-0"}


def test_without_ed25519_signatures_do_not_pass(page, carrying, browser):
    script = """
    const original = SubtleCrypto.prototype.importKey;
    SubtleCrypto.prototype.importKey = function (form, data, kind, ...rest) {
      if (kind.name !== 'Ed25519') return original.call(this, form, data, kind, ...rest);
      return Promise.reject(new DOMException('Unrecognized name.', 'NotSupportedError'));
    };"""
    with older(browser, script):
        page.open(carrying)
        page.paste(receipt())
        assert page.verdict() == "unchecked"
        assert "cannot check Ed25519" in page.says("policy-1")
        assert page.steps()["receipt-1"] == "holds"
        page.paste(forged())
        page.wait(lambda: page.state == "broken")


def test_the_page_reaches_no_network_and_runs_no_other_script(page, carrying, browser):
    page.open(carrying)
    page.paste(receipt())
    assert page.verdict() == "holds"
    loaded = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    assert browser.execute_script(loaded) == []
    found = browser.execute_async_script("""
        const [done] = arguments, blocked = [];
        document.addEventListener("securitypolicyviolation", (event) => {
          blocked.push(event.effectiveDirective);
          if (blocked.length === 4) done(blocked.sort());
        });
        fetch("data:text/plain,secret").catch(() => {});
        const add = (name, more) =>
          document.body.append(Object.assign(document.createElement(name), more));
        add("img", { src: "https://example.org/secret" });
        add("script", { textContent: "window.ran = true" });
        add("iframe", { src: "https://example.org/" });
        """)
    assert found == ["connect-src", "frame-src", "img-src", "script-src-elem"]
    assert browser.execute_script("return window.ran") is None


def test_markup_in_a_document_stays_text(page, carrying):
    page.open(carrying)

    def change(value):
        value["opened"]["model"]["value"] = "<img src=x><b id=injected>digits</b>"

    page.paste(altered(change))
    assert page.verdict() == "broken"
    assert not page.driver.find_elements(By.CSS_SELECTOR, "#injected, img")
    assert "<b id=injected>" in page.find("[data-field=model]").text


def test_the_keyboard_reaches_everything_and_shows_where_it_is(page, carrying, browser):
    page.open(carrying)
    page.paste(receipt())
    page.verdict()
    reached, outlined = [], []
    for _ in range(12):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        element = browser.switch_to.active_element
        reached.append(element.get_attribute("id") or element.tag_name)
        frame = page.find("#drop") if reached[-1] == "files" else element
        outlined.append(frame.value_of_css_property("outline-style"))
    assert reached[:3] == ["files", "summary", "again"]
    assert reached.count("summary") > 4
    assert set(outlined[:8]) == {"solid"}
    assert page.find("#verdict").get_attribute("aria-live") == "polite"
