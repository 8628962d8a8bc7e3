"""What tests of pages share: looks at them in a browser (conftest.browser)."""

from __future__ import annotations

from pathlib import Path


def open_page(browser, page: Path, width: int, scheme: str) -> None:
    """Opens a page of ours in a window of a width, for a reader with a scheme, and waits until it is drawn."""
    browser.get("about:blank")  # a page of another test may still ask its server, which has gone
    complaints(browser)
    size(browser, width, scheme)
    browser.get(page.resolve().as_uri())
    _wait_until_drawn(browser, scheme)


def size(browser, width: int, scheme: str) -> None:
    """Makes the browser's window so wide (a telephone below 600), and its reader prefer a light or a dark scheme."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    _prefer(browser, scheme)


def follow(browser, scheme: str) -> None:
    """Turns the reader's system to a scheme, light or dark, and waits until the page has followed."""
    _prefer(browser, scheme)
    _wait_until_drawn(browser, scheme)


def _prefer(browser, scheme: str) -> None:
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


def _wait_until_drawn(browser, scheme: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    drawn = "return document.documentElement.dataset.drawn"
    WebDriverWait(browser, 30).until(lambda _: browser.execute_script(drawn) == scheme)


def tooltip(browser, place: str) -> str:
    """The colours of the tooltip that shows when the mouse is over the left third of a plot."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    plot = browser.find_element(By.ID, place)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    left = -plot.size["width"] // 5
    ActionChains(browser).move_to_element_with_offset(plot, left, 0).move_by_offset(3, 0).move_by_offset(5, 5).perform()
    return WebDriverWait(browser, 30).until(lambda _: browser.execute_script(_TOOLTIP))


def complaints(browser) -> list[dict]:
    """What the browser's console holds, but for the line with which Bokeh greets."""
    return [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"]


# WCAG 2.2, 1.4.3: the contrast of every text against the nearest background that is painted.
CONTRAST = """
const channel = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const numbers = text => text.match(/[0-9.]+/g).map(Number);
const painted = e => { for (; e; e = e.parentElement) { const c = numbers(getComputedStyle(e).backgroundColor);
  if (c.length == 3 || c[3] > 0) return c; } };
const weak = [];
for (const e of document.querySelectorAll("body *")) {
  if (e.closest(".plot, script, noscript")) continue;
  if (![...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim())) continue;
  const [a, b] = [light(numbers(getComputedStyle(e).color)), light(painted(e))].sort((x, y) => y - x);
  if ((a + 0.05) / (b + 0.05) < 4.5) weak.push(e.outerHTML.slice(0, 80));
}
return weak;
"""

_TOOLTIP = """
const shown = [...document.querySelectorAll(".bk-Tooltip")].find(e => e.offsetHeight > 0);
const style = shown && getComputedStyle(shown);
return style ? `${style.backgroundColor} under ${style.color}` : "";
"""
