"""Report: a run's numbers as text for people. Takes the content of run.json, gives strings."""

from __future__ import annotations

import math
from collections.abc import Mapping

from chatload.objective import Estimate
from chatload.statistics import PERCENTILES, needed_samples, percentile_name
from chatload.units import format_duration, format_ms, format_share

_NAMES = [percentile_name(share) for share in PERCENTILES]
_GROUP_NAMES = ("p50", "p90", "p99")
_STANDING_OUT = 2
_MOST_EDITS = 2  # that are told one by one
_NAME_LETTERS = 35
_ANSWERS = {"ok", "wrong"}
_SIGNS = {"pass": "PASS", "fail": "FAIL", "invalid": "INVALID"}


def text(content: dict, folder: str) -> str:
    """The report that is printed at the end of a run."""
    run, summary = content["run"], content["summary"]
    lines = [*_heading(run), "", *_counts(summary), "", *_latency(summary), "", *_where_time_goes(summary)]
    lines += [
        *_by_turn(summary),
        *_calls(summary),
        "",
        *_groups(summary),
        *_repeated(run, summary),
        *_accuracy(summary),
        *_verdict(content["verdict"]),
        f"  run folder  {folder} (report.html shows the same in pictures)",
    ]
    return "\n".join(lines) + "\n"


def markdown(content: dict) -> str:
    """The same in short, as Markdown: summary.md."""
    run, summary, verdict = content["run"], content["summary"], content["verdict"]
    rows = [
        f"| {name} | {number(estimate['value'])} | {interval(estimate)} |"
        for name, estimate in summary["latency_ms"].items()
        if name in _NAMES
    ]
    return "\n".join(
        [
            f"## chatload: {_SIGNS[verdict['outcome']]}",
            "",
            *[f"- {reason}" for reason in verdict["reasons"]],
            "",
            f"{run['scenario']}, {arrivals(run)} at {run['rate']:g}/s for {format_duration(run['duration_s'])}: "
            f"{summary['planned']:,} planned, {summary['ok']:,} ok, {summary['wrong']:,} wrong, "
            f"{summary['failed']:,} failed, {summary['dropped']:,} dropped, {summary['unfinished']:,} unfinished.",
            "",
            "| latency from the intended time | ms | 95 % interval |",
            "|---|---|---|",
            *rows,
            "",
            *_by_turn_markdown(summary),
            f"Served {number(summary['throughput']['value'], '{:,.1f}')}/s; lag p99 "
            f"{number(summary['lag_ms']['p99']['value'])} ms; accuracy {share(summary['accuracy']['share']['value'])}.",
            "",
            *_markdown_table("length of the text", summary.get("by_length", {})),
            *_markdown_table("intent that stands out", _standing_out(summary.get("by_intent", {}))),
        ]
    )


def _markdown_table(what: str, groups: dict[str, dict]) -> list[str]:
    if not groups:
        return []
    lines = [f"| {what} | arrivals | p50 ms | p90 ms | p99 ms | correct |", "|---|---|---|---|---|---|"]
    for name, group in groups.items():
        latency = [number(group["latency_ms"][quantile]["value"]) for quantile in ("p50", "p90", "p99")]
        cells = [name.replace("|", "\\|"), f"{group['count']:,}", *latency, share(group["accuracy"]["share"]["value"])]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _heading(run: dict) -> list[str]:
    model = run["model"]
    served = f"{model['name']} {model['version']}" if model else "model unknown"
    corpus = run["corpus"]
    return [
        f"chatload {run['scenario']}: {run['host']} ({served})",
        f"  {arrivals(run)} at {rates(run)} for {format_duration(run['duration_s'])} "
        f"after {format_duration(run['warmup_s'])} of warm-up, seed {run['seed']}, "
        f"{run['workers']} generator process{'es' if run['workers'] > 1 else ''}",
        f"  {corpus['utterances']:,} utterances of {corpus['file']} (split: {corpus['split']})",
        *_drawn(run),
    ]


def arrivals(run: dict) -> str:
    """By what process messages came, and of what sessions, for people."""
    sessions = f" in sessions ({run['sessions']})" if run.get("sessions") else ""
    return f"{run['arrivals']} arrivals{sessions}"


def rates(run: dict) -> str:
    """The rate that was asked for, and what became of it where the number of users was edited."""
    edits = [(moment_s, users * run["stream_rate"]) for moment_s, users in run.get("edits", [])]
    if len(edits) > _MOST_EDITS:
        return f"{run['rate']:g}/s, changed {len(edits)} times, at last to {edits[-1][1]:g}/s,"
    changed = [f", from {format_duration(moment_s)} on {rate:g}/s" for moment_s, rate in edits]
    return f"{run['rate']:g}/s{''.join(changed)}{',' if changed else ''}"


def _drawn(run: dict) -> list[str]:
    """How messages were drawn, where that is not as the corpus has them."""
    told = [
        f"{name} {run[name]}" for name in ("mix", "lengths", "noise", "repeats") if run.get(name) not in (None, "", "corpus")
    ]
    return [f"  messages: {', '.join(told)}"] if told else []


def _counts(summary: dict) -> list[str]:
    lines = [
        f"  offered  {summary['offered_rate']:,.1f}/s   served  {summary['throughput']['value']:,.1f}/s",
        f"  planned {summary['planned']:,}   ok {summary['ok']:,}   wrong {summary['wrong']:,}   "
        f"failed {summary['failed']:,}   dropped {summary['dropped']:,}   unfinished {summary['unfinished']:,}",
    ]
    shown = {"ok", "wrong", "dropped", "unfinished"}
    failures = {name: count for name, count in summary["outcomes"].items() if name not in shown}
    if failures:
        lines.append("  failed: " + ", ".join(f"{name} {count:,}" for name, count in failures.items()))
    return lines


def _latency(summary: dict) -> list[str]:
    lines = ["  latency, from the intended time        ms   95 % interval"]
    for part, name in zip(PERCENTILES, _NAMES, strict=True):
        value = latency(summary, part).value
        if value is None:
            lines.append(f"    {name:<8}{'-':>30}   not carried by these samples (needs {needed_samples(part):,})")
        else:
            lines.append(f"    {name:<8}{number(value):>30}   {interval(summary['latency_ms'][name])}")
    mean, largest = summary["latency_ms"]["mean"], summary["latency_ms"]["max"]
    answered = "of those that were answered" if unanswered(summary) and largest["value"] is not None else ""
    for name, value, told in (("mean", mean, interval(mean)), ("max", largest, "")):
        remarks = "; ".join(filter(None, (told, answered)))
        lines.append(f"    {name:<8}{number(value['value']):>30}   {remarks}".rstrip())
    return lines


def latency(summary: Mapping, share: float) -> Estimate:
    """A percentile of latency from a run.json's summary, in which what is infinite has become null."""
    found = Estimate(**summary["latency_ms"][percentile_name(share)])
    if found.value is None and (found.low is not None or unanswered(summary) > 1 - share):
        return Estimate(math.inf, math.inf if found.low is None else found.low, math.inf)
    if found.value is not None and found.high is None:
        return Estimate(found.value, found.low, math.inf)
    return found


def unanswered(summary: Mapping) -> float:
    """The share of planned arrivals that was not answered."""
    return (summary["planned"] - summary["ok"] - summary["wrong"]) / max(summary["planned"], 1)


def _where_time_goes(summary: dict) -> list[str]:
    steps = {
        "generator's lag": summary["lag_ms"],
        "service time": summary["service_ms"],
        "server: tokenize": summary["server_ms"]["tokenize"],
        "server: infer": summary["server_ms"]["infer"],
    }
    lines = [f"  {'where the time goes':<24}{'p50 ms':>10}{'p99 ms':>10}{'max ms':>10}"]
    for name, found in steps.items():
        cells = "".join(f"{number(found[column]['value']):>10}" for column in ("p50", "p99", "max"))
        lines.append(f"    {name:<22}{cells}")
    return lines


def _by_turn(summary: dict) -> list[str]:
    """Latency per turn of the session, where there are sessions; older runs know nothing of them."""
    found = summary.get("by_turn", {})
    if not found:
        return []
    lines = ["", f"  {'latency by turn':<16}{'turns':>10}{'p50 ms':>10}{'p90 ms':>10}{'p99 ms':>10}        accuracy"]
    for turn, group in found.items():
        cells = "".join(f"{number(group['latency_ms'][name]['value']):>10}" for name in _GROUP_NAMES)
        lines.append(f"    {turn:<14}{group['count']:>10,}{cells}        {share(group['accuracy']['share']['value'])}")
    return lines


def _by_turn_markdown(summary: dict) -> list[str]:
    found = summary.get("by_turn", {})
    if not found:
        return []
    rows = [
        f"| {turn} | {group['count']:,} | "
        + " | ".join(number(group["latency_ms"][name]["value"]) for name in _GROUP_NAMES)
        + f" | {share(group['accuracy']['share']['value'])} |"
        for turn, group in found.items()
    ]
    head = f"| turn | turns | {' | '.join(f'{name}, ms' for name in _GROUP_NAMES)} | accuracy |"
    return [head, "|---|---|---|---|---|---|", *rows, ""]


def _groups(summary: dict) -> list[str]:
    """Latency and accuracy of each length, and of the intents that stand out; nothing for a run of an earlier version."""
    intents = summary.get("by_intent", {})
    return [
        *_table("by length of the text", summary.get("by_length", {})),
        *_table(f"slowest, least accurate of {len(intents)} intents", _standing_out(intents)),
    ]


def _standing_out(intents: dict[str, dict]) -> dict[str, dict]:
    """The two slowest intents by p50, and the two least accurate that have mistakes."""
    often = sorted(intents, key=lambda name: -intents[name]["count"])
    timed = [name for name in often if intents[name]["latency_ms"]["p50"]["value"] is not None]
    slowest = sorted(timed, key=lambda name: -intents[name]["latency_ms"]["p50"]["value"])[:_STANDING_OUT]
    mistaken = [name for name in often if intents[name]["accuracy"]["correct"] < intents[name]["accuracy"]["checked"]]
    wrong = sorted(mistaken, key=lambda name: intents[name]["accuracy"]["share"]["value"])[:_STANDING_OUT]
    return {name: intents[name] for name in dict.fromkeys(slowest + wrong)} if len(intents) > 1 else {}


def _table(title: str, groups: dict[str, dict]) -> list[str]:
    if not groups:
        return []
    lines = [f"  {title:<38}{'count':>9}{'p50 ms':>8}{'p99 ms':>8}{'correct':>15}"]
    for name, group in groups.items():
        found, latency = group["accuracy"], group["latency_ms"]
        cells = f"{group['count']:>9,}{number(latency['p50']['value']):>8}{number(latency['p99']['value']):>8}"
        mistaken = f"   if wrong, mostly {group['mistaken_for']}" if group["mistaken_for"] else ""
        lines.append(f"    {_short(name):<36}{cells}{share(found['share']['value']):>15}{mistaken}")
    return [*lines, ""]


def _short(name: str) -> str:
    return name if len(name) <= _NAME_LETTERS else name[: _NAME_LETTERS - 1] + "…"


def _repeated(run: dict, summary: dict) -> list[str]:
    if not run.get("repeats"):
        return []
    return [f"  repeats   {share(summary['repeated']['value'])} of the messages had come before, word for word"]


def _calls(summary: dict) -> list[str]:
    """The calls of a turn, where it has several."""
    if not summary.get("calls"):
        return []
    columns = f"{'p50 ms':>10}{'p99 ms':>10}{'max ms':>10}        on the critical path"
    lines = ["", f"  {'calls, each from when it was due':<34}{columns}"]
    for name, call in summary["calls"].items():
        cells = "".join(f"{number(call['latency_ms'][column]['value']):>10}" for column in ("p50", "p99", "max"))
        failed = ", ".join(f"{outcome} {count:,}" for outcome, count in call["outcomes"].items() if outcome not in _ANSWERS)
        lines.append(f"    {name:<32}{cells}{share(call['critical_share']):>13}{'   ' + failed if failed else ''}")
    return lines


def _accuracy(summary: dict) -> list[str]:
    accuracy = summary["accuracy"]
    if not accuracy["checked"]:
        return ["  accuracy  not checked: the corpus names no intents"]
    return [
        f"  accuracy  {share(accuracy['share']['value'])} of {accuracy['checked']:,} checked answers "
        f"({share(accuracy['share']['low'])} to {share(accuracy['share']['high'])})"
    ]


def _verdict(verdict: dict) -> list[str]:
    return [f"  verdict   {_SIGNS[verdict['outcome']]}", *[f"    - {reason}" for reason in verdict["reasons"]]]


def number(value: float | None, form: str = "", unknown: str = "-") -> str:
    """Milliseconds, or a number in ``form``, for people; ``unknown`` where there is none. Infinite: it never came."""
    if value is None or math.isinf(value):
        return unknown if value is None else "no answer"
    return form.format(value) if form else format_ms(value)


def share(value: float | None) -> str:
    """A share in percent for people."""
    return "-" if value is None else format_share(value)


def interval(estimate: dict) -> str:
    """The 95 % interval of an estimate (its JSON form) in milliseconds for people."""
    low, high = estimate["low"], estimate["high"]
    if low is None:
        return "-"
    return f"{format_ms(low)} to {format_ms(high)}" if high is not None else f"{format_ms(low)} or more"
