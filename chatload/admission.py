"""Admission: what a run with some settings would meet, looked at before its first arrival; what cannot work is refused."""

from __future__ import annotations

from dataclasses import dataclass

from chatload import (
    arrivals,
    call_graph,
    capacity,
    contract,
    corpus,
    corpus_file,
    cost,
    dealing,
    duration,
    generator,
    mix,
    objective,
    preflight,
    runfolder,
    settings,
    timer,
)

# Everything that a user's mistake can raise; each message is one line for that user.
MISTAKES = (
    arrivals.ArrivalsError,
    call_graph.CallGraphError,
    capacity.CapacityError,
    contract.HostError,
    contract.TokenError,
    corpus.CorpusError,
    cost.CostError,
    mix.MixError,
    preflight.PreflightError,
    runfolder.RunFolderError,
    settings.SettingsError,
    timer.TimerError,
)


@dataclass(frozen=True)
class Admitted:
    """The intent model behind the host, as {"name", "version"}, and what is replayed against it."""

    model: dict[str, str]
    replayed: corpus_file.Replayed


def check(wanted: settings.Settings, graph: call_graph.CallGraph | None, shaped: bool) -> Admitted:
    """Asks the server, and reads the files. ``shaped``: the rate follows a load shape. Raises one of MISTAKES."""
    tls = generator.Tls(wanted.ca_file, wanted.insecure)
    generator.resolve(wanted.host, tls)
    replayed = read(wanted, shaped)
    token, text = generator.read_token(wanted.token_file), replayed.utterances[0].text
    models = graph.names if graph else (contract.MODEL,)
    answers = {model: preflight.check(wanted.host, tls.context(), token, text, wanted.timeout_s, model) for model in models}
    return Admitted(answers[contract.MODEL], replayed)


def read(wanted: settings.Settings, shaped: bool) -> corpus_file.Replayed:
    """What is replayed; all that can be looked at without a server. Raises one of MISTAKES."""
    _check_arrivals(wanted, shaped)
    timer.check(wanted.stay_awake)
    return corpus_file.replayed(wanted)


def _check_arrivals(wanted: settings.Settings, shaped: bool) -> None:
    asked = dealing.read(wanted.arrivals, wanted.sessions, wanted.rate, wanted.seed)
    if asked.dealt and shaped:
        cause = "--sessions" if wanted.sessions else f"--arrivals {asked.arrivals.name}"
        raise arrivals.ArrivalsError(
            f"{cause} plans the whole run at its start, so it cannot follow a load shape; use poisson"
            + (" without --sessions" if wanted.sessions else "")
        )
    asked.check()


def advice(wanted: settings.Settings, admitted: Admitted, mean_rate: float) -> str:
    """Whether a run at so many arrivals per second is long enough for its objective, in a line."""
    clauses = objective.parse(wanted.objective)
    labelled = any(utterance.intent for utterance in admitted.replayed.utterances)
    return duration.advice(clauses, mean_rate, wanted.warmup_s, wanted.run_time_s, labelled)
