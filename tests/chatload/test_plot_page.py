"""The pages of compare and history, as their readers get them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from chatload import plot_page
from chatload.compare import Samples, Side
from tests.chatload.browsing import CONTRAST, complaints, open_page
from tests.chatload.test_history import row

SPITEFUL = "</script><script>document.title='taken'</script>"


def side(name: str, factor: float, runs: int = 1) -> Side:
    generator, moments_s = np.random.default_rng(1), np.arange(2_000) / 100
    latencies = [factor * generator.lognormal(3, 0.3, 2_000) for _ in range(runs)]
    return Side(name, "", {}, tuple(Samples(latency, moments_s, 20.0, np.empty(0, bool)) for latency in latencies))


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pages")
    sides = [side(SPITEFUL, 1.0, runs=3), *[side(f"side {number}", 1 + number / 5, runs=3) for number in range(6)]]
    runs = [row(number, 40.0 + number if number < 6 else math.inf, faulty=number == 2) for number in range(9)]
    texts = {
        "compare.html": plot_page.comparison(sides, f"B against A {SPITEFUL}\n{'wide ' * 60}\n"),
        "history.html": plot_page.trend([*runs, *[row(number, 9.0, rate=SPITEFUL) for number in range(3)]]),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [folder / name for name in texts]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_browser_draws_the_pages_in_the_readers_scheme_without_an_error_and_without_overflow(
    browser, pages, width, scheme
):
    for page, plots in zip(pages, (1, 2), strict=True):
        open_page(browser, page, width, scheme)
        assert complaints(browser) == []
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert browser.execute_script("return document.querySelectorAll('.plot > *').length") == plots
        painted = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert painted == {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 22, 27)"}[scheme]
        assert browser.execute_script(CONTRAST) == []
        assert "taken" not in browser.title


def test_the_pages_hold_all_that_they_show(pages):
    for page in pages:
        text = page.read_text()
        assert "<script src=" not in text
        assert "default-src 'none'" in text
        assert SPITEFUL not in text
        assert len(text) < 5e6


def test_without_curves_there_is_the_text():
    in_process = Side("cpu", "", {}, windows={"p50": np.ones(3)})
    never = Side("dead", "", {}, (Samples(np.full(500, math.inf), np.empty(0), 5.0, np.empty(0, bool)),))
    for sides in ([in_process], [never]):
        assert "B against A" in plot_page.comparison(sides, "B against A")
    assert "no answer" in plot_page.trend([row(1, math.inf)])
