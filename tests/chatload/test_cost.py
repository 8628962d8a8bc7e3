from __future__ import annotations

import json
import math
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload import cli, cost, prices, runs
from chatload.cost import Capacity
from chatload.history import Row
from chatload.objective import Estimate
from tests.chatload.made_runs import make_run

FLAT = [1.0] * 24


ALIKE = {"measured": "a served run", "corpus": "c", "model": "minilm", "objective": "p99<1s", "arrivals": "poisson"}


def row(rate: float, outcome: str, served: float | None = None, **changes: object) -> Row:
    """A run of 100 s that answered ``served`` of ``rate`` a second, the rest turned away with 503."""
    served = served or rate
    throughput = Estimate(served, served * 0.97, served * 1.03)
    answers = {"ok": round(100 * served), "http_503": round(100 * (rate - served))}
    alike = ALIKE | {"rate": f"{rate:g}/s", "arrivals": changes.pop("arrivals", "poisson")}
    name = f"at {rate:g}"
    return Row(name, "", "1", alike, {}, rate, rate, {"throughput": throughput}, answers, outcome, **changes)


def test_a_million_answers_cost_what_they_take_in_hours():
    # 100/s are 360,000 an hour: a million take 2.78 hours.
    assert cost.per_million(0.36, 100) == pytest.approx(1.0)


@given(st.floats(0.01, 100), st.floats(0.1, 1e4), st.floats(1.1, 10))
def test_a_faster_instance_is_cheaper_in_proportion(dollars, rate, factor):
    assert cost.per_million(dollars, rate * factor) == pytest.approx(cost.per_million(dollars, rate) / factor)


def test_one_instance_is_the_floor():
    # The published case: 100,000 questions a month are one every 26 seconds.
    bill = cost.monthly(0.228, 40.0, 100_000, FLAT)
    assert (bill.instances, bill.fixed_dollars) == (1, pytest.approx(0.228 * 730))
    assert bill.scaled_dollars == pytest.approx(bill.fixed_dollars)
    assert bill.utilisation == pytest.approx(100_000 / (730 * 3600) / 40)


def test_the_busiest_hour_sizes_the_fleet_and_scaling_by_hour_saves():
    # 2,628,000 a month are 1/s on average; all in half of the day make 2/s there, of which one instance takes 0.9.
    bill = cost.monthly(1.0, 0.9, 2_628_000, [1.0] * 12 + [0.0] * 12)
    assert bill.instances == 3
    assert bill.fixed_dollars == pytest.approx(3 * 730)
    assert bill.scaled_dollars == pytest.approx((3 + 1) / 2 * 730)


@given(
    st.floats(1e3, 1e9),
    st.floats(0.1, 100),
    st.lists(st.floats(0, 10), min_size=1, max_size=48).filter(lambda c: sum(c) > 0.1),
)
def test_the_bill_carries_the_traffic_and_scaling_never_costs_more(questions, rate, curve):
    bill = cost.monthly(1.0, rate, questions, curve)
    assert bill.instances >= 1
    assert bill.utilisation <= 1 + 1e-9
    assert bill.scaled_dollars <= bill.fixed_dollars * (1 + 1e-9)
    assert bill.scaled_dollars >= 730 * (1 - 1e-9)


@given(st.floats(1, 12))
def test_a_peak_has_the_height_asked_for(peak):
    curve = cost.peaked(peak)
    assert max(curve) / np.mean(curve) == pytest.approx(peak, rel=1e-3)
    assert curve[14] == max(curve)


@pytest.mark.parametrize("peak", [0.5, 13, math.nan, math.inf])
def test_a_peak_that_no_day_has_is_refused(peak):
    with pytest.raises(cost.CostError, match="times the mean hour: write a number from 1 to 12"):
        cost.peaked(peak)


SLOW = {"faults": ("requests in flight grew",), "overloaded": True}


def test_capacity_is_the_highest_rate_that_passed_below_the_lowest_that_failed():
    rows = [row(10, "pass"), row(20, "pass"), row(30, "fail"), row(40, "pass"), row(50, "invalid", served=35, **SLOW)]
    assert cost.capacity(rows) == Capacity(20, 35, ("at 40: it passed at 40/s, but a run at 30/s did not: luck",))


def test_no_pass_is_no_capacity_and_no_overload_is_no_full_load():
    assert cost.capacity([row(10, "fail")]) == Capacity(None, None)
    assert cost.capacity([row(10, "pass")]) == Capacity(10, None)


def test_a_server_that_could_not_keep_up_bounds_the_rate_like_one_that_missed_its_objective():
    found = cost.capacity([row(10, "pass"), row(20, "invalid", served=15, **SLOW), row(30, "pass")])
    assert (found.objective_rate, found.full_load) == (10, 15)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"arrivals": "profile:speed=24"}, "profile:speed=24 has no one rate"),
        ({"arrivals": "onoff"}, "onoff has no one rate"),
        ({"edited": True}, "its rate was changed while it ran"),
        ({"faults": ("the generator was late",)}, "invalid: the generator was late"),
    ],
)
def test_a_run_that_says_nothing_about_capacity_is_left_out_and_named(changes, why):
    rows = [row(10, "pass"), row(90, "pass", **changes)]
    assert cost.capacity(rows) == Capacity(10, None, (f"at 90: {why}",))
    said = cost.text([cost.Target("box", 1.0, cost.capacity(rows))], 1e5, FLAT)
    assert f"left out of box: at 90: {why}" in said


def test_an_undecided_run_is_no_pass_and_no_failure():
    assert cost.capacity([row(10, "pass"), row(20, "invalid")]).left_out == ("at 20: its objective was not decided",)


def test_answers_lost_for_other_reasons_than_load_are_no_full_load():
    broken = Row("r", "", "1", ALIKE, {}, 10, 10, row(10, "fail", 5).metrics, {"ok": 500, "reset": 500}, "fail")
    assert cost.capacity([broken]).full_load is None
    assert cost.capacity([row(10, "fail", 5)]).full_load == 5
    # What was within the objective was more: so this was not all that the server can do.
    assert cost.capacity([row(8, "pass"), row(10, "fail", 5)]).full_load is None


def test_runs_at_one_rate_must_be_alike_and_a_days_curve_may_differ():
    alike, other = row(10, "pass"), row(20, "pass", arrivals="gamma")
    with pytest.raises(cost.CostError, match="at 10 and at 20 cannot be priced together: arrivals: poisson against gamma"):
        cost.check_alike([alike, other])
    cost.check_alike([alike, row(30, "pass"), row(20, "pass", arrivals="profile")])


def test_the_users_prices_override_the_shipped_ones():
    shipped = cost.prices({"source": "list", "date": date(2026, 7, 20), "us-east-1": {"a": 1.0, "b": 2.0}}, "prices.toml")
    own = cost.prices({"us-east-1": {"b": 0.5}, "home": {"c": 3}}, "mine.toml")
    both = cost.overridden(shipped, own)
    assert (both.of("us-east-1", "a"), both.of("us-east-1", "b"), both.of("home", "c")) == (1.0, 0.5, 3.0)
    assert both.origins("us-east-1", ["a", "b"]) == (
        "prices in us-east-1 of a: list, 2026-07-20\nprices in us-east-1 of b: mine.toml, no date\n"
    )


@pytest.mark.parametrize("price", [0, -1, "cheap", True, math.nan, math.inf])
def test_what_is_no_price_is_refused(price):
    with pytest.raises(cost.CostError, match=r"mine.toml: home.c = .* is not a price"):
        cost.prices({"home": {"c": price}}, "mine.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '"c7i.xlarge" = 0.1\n[us-east-1]\n',
            "c7i.xlarge = 0.1 stands outside a region: write it below one, as [us-east-1]",
        ),
        ('sauce = "mine"\n', "sauce = 'mine' stands outside a region"),
        ("[us-east-1]\nc7i.xlarge = 0.1\n", 'p.toml, line 2: write "c7i.xlarge" in quotes, below its [region]'),
        ("# mine\n\nc7i . xlarge = 0.1\n", 'p.toml, line 3: write "c7i . xlarge" in quotes'),
        ("[us-east-1.c7i]\nxlarge = 0.1\n", "us-east-1.c7i = {'xlarge': 0.1} is not a price"),
    ],
)
def test_a_price_in_the_wrong_place_is_one_clear_line(tmp_path, capsys, text, said):
    run = make_run(tmp_path / "run", latency_ms(1))
    assert said in refused(capsys, f"c7i.xlarge={run}", "--prices", write(tmp_path / "p.toml", text))


def test_what_has_no_price_is_named_with_what_has():
    listed = prices.read(None)
    with pytest.raises(cost.CostError, match="no price for 'tpu' in us-east-1: known are c5.xlarge"):
        listed.of("us-east-1", "tpu")
    with pytest.raises(cost.CostError, match="no prices for region 'moon': known are us-east-1"):
        listed.of("moon", "tpu")


def latency_ms(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(3, 0.3, 2_000)


def test_the_command_prices_what_runs_have_shown(tmp_path, capsys):
    make_run(tmp_path / "cpu", latency_ms(1))
    make_run(tmp_path / "slow", 100 * latency_ms(2))
    own = tmp_path / "mine.toml"
    own.write_text('[us-east-1]\n"box" = 0.01\n')
    cli.main(
        ["cost", f"c7i.xlarge={tmp_path / 'cpu'}", f"inf1.xlarge={tmp_path / 'slow'}", f"box={tmp_path / 'cpu'}"]
        + ["--prices", str(own), "--peak", "3", "--questions", "1000000"]
    )
    out = capsys.readouterr().out
    assert "1,000,000 questions a month; 1.14/s in the busiest hour, 3 times the mean" in out
    assert "no run met the objective" in out
    assert "cheapest within the objective: box, $7.30 a month" in out
    assert "prices in us-east-1 of box: mine.toml, no date" in out


def test_the_cheapest_may_be_another_when_fleets_follow_the_traffic():
    # 10/s at the busiest hour, 0 at the other: ten small ones or one big one, of which the small ones can be given back.
    targets = [cost.Target("small", 0.1, Capacity(1.0, None)), cost.Target("big", 0.9, Capacity(100.0, None))]
    text = cost.text(targets, 10 * 730 * 3600 / 2, [1.0, 0.0])
    assert "cheapest within the objective: big, $657.00 a month; scaled each hour: small, $401.50" in text


def refused(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main(["cost", *map(str, arguments)])
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def search(folder: Path, **content: object) -> Path:
    """A capacity search's folder, of one probe."""
    make_run(folder / "probe-01", latency_ms(1))
    found = {"schema": 1, "state": "found", "reason": "", "answer": {"rate": 72.0, "low": 70.0, "high": 74.0}}
    write(folder / "capacity.json", json.dumps({**found, "saturation": {"throughput": 95.0}, **content}))
    return folder


def test_a_capacity_search_answers_for_its_instance(tmp_path, capsys):
    found = search(tmp_path / "found")
    none = search(
        tmp_path / "none", state="none", answer=None, reason="missed at the lowest rate", saturation={"throughput": None}
    )
    assert runs.searched(found) == Capacity(72.0, 95.0)
    more = search(tmp_path / "more", saturation={"throughput": 95.0, "at_least": True, "overloaded": None})
    assert runs.searched(more) == Capacity(72.0, None)
    assert runs.searched(found / "probe-01") is None
    cli.main(["cost", f"c7i.xlarge={found}", f"inf1.xlarge={none}"])
    out = capsys.readouterr().out
    assert "cheapest within the objective: c7i.xlarge" in out
    assert f"left out of inf1.xlarge: {none / 'capacity.json'}: missed at the lowest rate" in out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "has schema 2, this version of chatload reads 1"),
        ({"answer": 72.0}, "is not as a capacity search writes it"),
        ({"saturation": None}, "is not as a capacity search writes it"),
    ],
)
def test_a_damaged_capacity_search_is_one_clear_line(tmp_path, capsys, change, said):
    assert said in refused(capsys, f"c7i.xlarge={search(tmp_path / 'found', **change)}")


def test_bad_arguments_are_one_clear_line(tmp_path, capsys):
    run = make_run(tmp_path / "run", latency_ms(1))
    other = make_run(tmp_path / "other", latency_ms(1), objective="p99<2s")
    good = f"c7i.xlarge={run}"
    assert "write each instance type once with its runs" in refused(capsys, "c7i.xlarge")
    assert "write each instance type once with its runs" in refused(capsys, good, good)
    assert "is not a folder" in refused(capsys, f"c7i.xlarge={tmp_path / 'none'}")
    assert "other cannot be priced together: objective: errors<5%,p99<1s against p99<2s" in refused(
        capsys, good, f"inf1.xlarge={other}"
    )
    assert "--questions 0: write a number above 0" in refused(capsys, good, "--questions", 0)
    assert "cannot be read" in refused(capsys, good, "--prices", write(tmp_path / "p.toml", "[us-east-1"))
    assert "write one number a line" in refused(capsys, good, "--day", write(tmp_path / "day", "noon\n"))
    assert "at least 0, not all 0" in refused(capsys, good, "--day", write(tmp_path / "day", "# night\n0\n0\n"))


def test_a_day_is_read_from_a_file(tmp_path):
    assert prices.read_day(write(tmp_path / "day", "# six-hour parts\n0\n1\n\n3\n2\n")) == [0, 1, 3, 2]
