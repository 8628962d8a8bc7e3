"""Candidates: reads what a plan chooses from: of each instance type a calibration run, or the capacity that was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from chatload import calibrated, objective, runs
from chatload.forecast import Spread
from chatload.plan import MEASURED, Candidate


class CandidateError(ValueError):
    """What a plan cannot use; the message names it and what would be right."""


class _Answer(msgspec.Struct):
    rate: float
    low: float
    high: float


class _Capacity(msgspec.Struct):
    """The part of a capacity.json that a plan needs; ``answer`` is null where no rate met the objective."""

    objective: str
    answer: _Answer | None


@dataclass(frozen=True)
class Source:
    """A candidate, and under which conditions its numbers came about; a capacity.json does not say its model and corpus."""

    candidate: Candidate
    path: Path
    objective: str
    model: str | None = None
    corpus: str | None = None


def read(instance: str, path: Path, dollars_per_hour: float, workers: int, timeout_s: float | None) -> Source:
    """What ``path`` shows of an instance type: a run's folder, or a capacity.json or the folder of one.

    ``workers`` served the run; ``timeout_s`` in place of the run's own. Raises CandidateError, runfolder.RunFolderError or
    calibration.CalibrationError.
    """
    file = path / "capacity.json" if path.is_dir() else path
    if file.is_file():
        return _measured(instance, file, dollars_per_hour)
    run, row = calibrated.read(path, workers), runs.row(path, str(path))
    candidate = Candidate(instance, dollars_per_hour, run.about, run.calibration, timeout_s or run.timeout_s)
    return Source(candidate, path, run.objective, row.conditions["model"], row.conditions["corpus"])


def common_objective(sources: Sequence[Source], asked: str | None) -> tuple[objective.Clause, ...]:
    """The clauses to plan for: those asked, or those of all sources. Raises CandidateError or objective.ObjectiveError.

    A calibration serves any objective; a capacity only the one that it was measured for.
    """
    wanted = objective.parse(asked or sources[0].objective)
    for source in sources:
        bound = source.candidate.basis == MEASURED or not asked
        if bound and _texts(objective.parse(source.objective)) != _texts(wanted):
            raise CandidateError(
                f"{source.path} is for {source.objective}, not for {','.join(_texts(wanted))}: "
                "name what all are for with --objective, and search the capacity for it"
            )
    return wanted


def check_alike(sources: Sequence[Source]) -> None:
    """Raises CandidateError unless all runs had the same model and corpus, as far as is known, and none is there twice."""
    kinds = [(source.candidate.instance, source.candidate.basis) for source in sources]
    for instance, basis in kinds:
        if kinds.count((instance, basis)) > 1:
            raise CandidateError(
                f"{instance} is {basis} twice: write a type once, or once with a run and once with a capacity"
            )
    for word in ("model", "corpus"):
        said = [(getattr(source, word), source.path) for source in sources if getattr(source, word)]
        for name, path in said[1:]:
            if name != said[0][0]:
                raise CandidateError(
                    f"{word} differs: {said[0][0]} in {said[0][1]}, {name} in {path}; plan with the same one"
                )


def _measured(instance: str, file: Path, dollars_per_hour: float) -> Source:
    try:
        found = msgspec.json.decode(file.read_bytes(), type=_Capacity)
        objective.parse(found.objective)
    except (OSError, msgspec.MsgspecError, objective.ObjectiveError) as error:
        raise CandidateError(f"{file} is not a capacity as make capacity writes it ({error})") from error
    answer = found.answer
    if answer and not 0 < answer.low <= answer.rate <= answer.high:
        raise CandidateError(f"{file}: {answer.low:g} <= {answer.rate:g} <= {answer.high:g}/s is no interval above 0")
    capacity = Spread(answer.rate, answer.low, answer.high) if answer else None
    return Source(Candidate(instance, dollars_per_hour, str(file), capacity=capacity), file, found.objective)


def _texts(clauses: Sequence[objective.Clause]) -> list[str]:
    return sorted(clause.text for clause in clauses)
