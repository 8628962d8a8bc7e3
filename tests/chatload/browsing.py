"""What tests of pages share: how wide and in which scheme a browser shows one, and what is wrong with it."""

from __future__ import annotations


def size(browser, width: int, scheme: str) -> None:
    """Makes the browser's window so wide (a telephone below 600), and its reader prefer a light or a dark scheme."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


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
