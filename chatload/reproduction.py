"""Reproduction: the options of a scenario that make the load that a log shows."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from chatload.chat_log import Log
from chatload.description import Description, Sessions, Spread, length_bands
from chatload.fitting import LEAST_BURSTS, NEAR, Fit

_HOST = "http://127.0.0.1:8080"
_SHORT_S = 600.0  # long enough for what is the same at all times
_MOST_INTENTS = 12
_TRACE = "TRACE.csv"
_WARM_S = 30  # a run no longer than this is not cut by a warm-up
_EVEN_CV = 0.05
_TEXTS, _INTENTS = ("utterance", "text"), ("intent", "label")  # what all layouts of a corpus call them


@dataclass(frozen=True)
class Written:
    """Files written beside the description, that options may name; empty for none."""

    profile: str = ""
    trace: str = ""
    mix: str = ""


@dataclass(frozen=True)
class Reproduction:
    """Options by flag, the exact ``replay`` (empty: the file is no trace), what is ``missing``, a ``command`` to paste."""

    options: dict[str, str]
    replay: str
    missing: tuple[str, ...]
    command: str


def reproduction(found: Description, fit: Fit | None, written: Written) -> Reproduction:
    """What reproduces a log; ``fit`` is that of ``found.starting``."""
    options = {
        "--arrivals": _arrivals(found, fit, written),
        "--sessions": sessions(found.sessions) if found.sessions and found.conversing else "",
        "--mix": _mix(found, written),
        "--lengths": ",".join(f"{band}={share * 100:.3g}" for band, share in length_bands(found.log.words).items()),
        "--repeats": f"{found.repeats.share:.3g}" if found.repeats and found.traffic else "",
    }
    options = {flag: value for flag, value in options.items() if value}
    replay = _replay(found, written)
    missing = tuple(_missing(found, fit, options, replay))
    return Reproduction(options, replay, missing, _command(found, fit, options, replay))


def sessions(found: Sessions) -> str:
    """The --sessions option of sessions with several turns: turns a session, and the time from one to the next."""
    assert found.think_s is not None
    turns = _distributed("turns", found.turns, "", "geometric", math.sqrt(1 - 1 / found.turns.mean))
    return f"{turns},{_distributed('think', found.think_s, 's', 'exponential', 1.0)}"


def _distributed(name: str, spread: Spread, unit: str, memoryless: str, its_cv: float) -> str:
    """Keys of a quantity: constant, without memory where its CV is that (which then is not said), else lognormal."""
    mean = f"{name}={spread.mean:.4g}{unit}"
    if spread.cv < _EVEN_CV:
        return f"{mean},{name}_dist=constant"
    if abs(spread.cv / its_cv - 1) <= NEAR:
        return f"{mean},{name}_dist={memoryless}"
    return f"{mean},{name}_cv={spread.cv:.3g}"


def _arrivals(found: Description, fit: Fit | None, written: Written) -> str:
    """Empty where no process was found, or where its profile is not in a file."""
    if fit is None or fit.chosen is None:
        return ""
    if not fit.chosen.process.weights:
        return fit.chosen.process.option
    assert found.starting is not None
    return f"profile:file={written.profile},span={found.starting.span_s:.6g}s" if written.profile else ""


def _replay(found: Description, written: Written) -> str:
    if written.trace:
        return f"trace:file={written.trace},column=time"
    return f"trace:file={found.log.file},column={found.log.columns.time}" if found.log.replays else ""


def _mix(found: Description, written: Written) -> str:
    intents = found.log.intents
    if written.mix or not intents:
        return written.mix
    if len(intents) > _MOST_INTENTS or any(set(",;=") & set(intent) for intent in intents):
        return ""
    return ";".join(f"{intent}={count}" for intent, count in intents.most_common())


def _missing(found: Description, fit: Fit | None, options: dict[str, str], replay: str) -> Iterator[str]:
    """What has to be done before the options can be used as they stand."""
    if fit and fit.chosen and "--arrivals" not in options:
        yield "a profile needs its file: --write-profile FILE"
    if found.traffic and not replay:
        yield f"a replay needs a trace of its own, {_why(found)}: --write-trace {_TRACE}"
    if found.log.intents and "--mix" not in options:
        yield f"the {len(found.log.intents):,} intents do not go into a line: --write-mix FILE"
    if found.log.words.total and not found.log.draws:
        yield "--corpus takes CSV with commas, TSV, JSON Lines or Parquet without blank texts; --anonymise OUT writes one"
    if not found.traffic:
        yield "the file has no times: --rate is yours to choose"


def _why(found: Description) -> str:
    times = found.log.times
    if times is not None and times.tick_s:
        return (
            f"since the clock of this log ticks every {times.tick_s:g} s and a replay would send a tick's messages at once"
        )
    return "CSV or Parquet with seconds or dates in order"


def _command(found: Description, fit: Fit | None, options: dict[str, str], replay: str) -> str:
    """A command line to paste. A log that is its own corpus has the mix and the lengths in it."""
    words = [".venv/bin/locust", "-f", "locustfiles/chatbot.py", "--headless", "--host", _HOST, *_pace(found, fit)]
    if "--arrivals" in options:
        told = ["--arrivals", "--sessions"]
    else:
        told = []
        words += ["--arrivals", replay or f"trace:file={_TRACE},column=time"] if found.traffic else []
    if found.log.draws:
        words += ["--corpus", _corpus(found.log)]
    told += ["--repeats"] if found.log.draws else ["--mix", "--lengths", "--repeats"]
    words += [word for flag in told if flag in options for word in (flag, options[flag])]
    return shlex.join(words)


def _corpus(log: Log) -> str:
    """The --corpus option of a log; columns that a corpus would not call so are named."""
    columns = log.columns
    named = [] if columns.text.lower() in _TEXTS else [f"text={columns.text}"]
    if columns.intent and columns.intent.lower() not in _INTENTS:
        named.append(f"intent={columns.intent}")
    return f"{log.file}:{','.join(named)}" if named else log.file


def _pace(found: Description, fit: Fit | None) -> list[str]:
    if found.traffic is None:
        return ["--rate", "10", "--run-time", "60s"]
    span_s = found.traffic.span_s
    process = fit.chosen.process if fit and fit.chosen else None
    if process and not process.weights:
        span_s = min(span_s, max(_SHORT_S, LEAST_BURSTS * process.cycle_s))
    run_time_s = math.ceil(span_s)
    short = ["--warmup", "0s"] if run_time_s <= _WARM_S else []
    return ["--rate", f"{found.traffic.rate:.4g}", "--run-time", f"{run_time_s}s", *short]


def profile_file(found: Description, fit: Fit | None) -> str:
    """The file of --arrivals profile: the weights of the profile that was chosen, else the rates over time as described."""
    assert found.starting is not None
    chosen = fit.chosen.process.weights if fit and fit.chosen else ()
    weights = chosen or tuple(found.starting.rates.tolist())
    span_s = found.starting.span_s if chosen else found.starting.step_s * len(weights)
    head = f"# Arrivals in equal parts of span={span_s:.6g}s of {found.log.file}\n"
    return head + "".join(f"{weight:g}\n" for weight in weights)


def mix_file(log: Log, comma: bool) -> str:
    """The file of --mix, CSV or tab-separated: each intent with its number of rows."""
    if not comma:
        return "intent\tweight\n" + "".join(f"{intent}\t{count}\n" for intent, count in log.intents.most_common())
    quoted = ((intent.replace('"', '""'), count) for intent, count in log.intents.most_common())
    return "intent,weight\n" + "".join(f'"{intent}",{count}\n' for intent, count in quoted)
