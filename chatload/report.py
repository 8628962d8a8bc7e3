"""Report: a run's numbers as text for people. Takes the content of run.json, gives strings."""

from __future__ import annotations

from chatload.statistics import PERCENTILES, needed_samples, percentile_name
from chatload.units import format_duration, format_ms, format_share

_NAMES = [percentile_name(share) for share in PERCENTILES]
_ANSWERS = {"ok", "wrong"}
_SIGNS = {"pass": "PASS", "fail": "FAIL", "invalid": "INVALID"}


def text(content: dict, folder: str) -> str:
    """The report that is printed at the end of a run."""
    run, summary = content["run"], content["summary"]
    lines = [*_heading(run), "", *_counts(summary), "", *_latency(summary), "", *_where_time_goes(summary)]
    lines += _calls(summary)
    lines += ["", *_accuracy(summary), *_verdict(content["verdict"]), f"  run folder  {folder}"]
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
            f"{run['scenario']}, {run['arrivals']} {run['rate']:g}/s for {format_duration(run['duration_s'])}: "
            f"{summary['planned']:,} planned, {summary['ok']:,} ok, {summary['wrong']:,} wrong, "
            f"{summary['failed']:,} failed, {summary['dropped']:,} dropped, {summary['unfinished']:,} unfinished.",
            "",
            "| latency from the intended time | ms | 95 % interval |",
            "|---|---|---|",
            *rows,
            "",
            f"Served {number(summary['throughput']['value'], '{:,.1f}')}/s; lag p99 "
            f"{number(summary['lag_ms']['p99']['value'])} ms; accuracy {share(summary['accuracy']['share']['value'])}.",
            "",
        ]
    )


def _heading(run: dict) -> list[str]:
    model = run["model"]
    served = f"{model['name']} {model['version']}" if model else "model unknown"
    corpus = run["corpus"]
    return [
        f"chatload {run['scenario']}: {run['host']} ({served})",
        f"  {run['arrivals']} arrivals at {run['rate']:g}/s for {format_duration(run['duration_s'])} "
        f"after {format_duration(run['warmup_s'])} of warm-up, seed {run['seed']}, "
        f"{run['workers']} generator process{'es' if run['workers'] > 1 else ''}",
        f"  {corpus['utterances']:,} utterances of {corpus['file']} (split: {corpus['split']})",
    ]


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
        estimate = summary["latency_ms"][name]
        if estimate["value"] is None and estimate["low"] is None and not unanswered(summary) > 1 - part:
            lines.append(f"    {name:<8}{'-':>30}   not carried by these samples (needs {needed_samples(part):,})")
        else:
            lines.append(f"    {name:<8}{number(estimate['value'], unknown='no answer'):>30}   {interval(estimate)}")
    mean, largest = summary["latency_ms"]["mean"], summary["latency_ms"]["max"]
    lines.append(f"    {'mean':<8}{number(mean['value']):>30}   {interval(mean)}")
    lines.append(f"    {'max':<8}{number(largest['value']):>30}")
    return lines


def unanswered(summary: dict) -> float:
    """The share of planned arrivals that was not answered."""
    return (summary["planned"] - summary["ok"] - summary["wrong"]) / max(summary["planned"], 1)


def _where_time_goes(summary: dict) -> list[str]:
    steps = {
        "generator's lag": summary["lag_ms"],
        "service time": summary["service_ms"],
        "server: tokenize": summary["server_ms"]["tokenize"],
        "server: infer": summary["server_ms"]["infer"],
    }
    lines = [f"  {'where the time goes':<24}{'p50':>10}{'p99':>10}{'max':>10}   ms"]
    for name, found in steps.items():
        cells = "".join(f"{number(found[column]['value']):>10}" for column in ("p50", "p99", "max"))
        lines.append(f"    {name:<22}{cells}")
    return lines


def _calls(summary: dict) -> list[str]:
    """The calls of a turn, where it has several."""
    if not summary.get("calls"):
        return []
    lines = ["", f"  {'calls, each from when it was due':<34}{'p50':>10}{'p99':>10}{'max':>10}   ms   on the critical path"]
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
    """Milliseconds, or a number in ``form``, for people; ``unknown`` where there is none."""
    if value is None:
        return unknown
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
