"""The command line: arguments in, one line per problem out, an exit status. It decides nothing else."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import NoReturn

from missing_device import MissingDevice

from model.problem import BuildProblem, UserProblem

# Eight seconds of a core. Java compiles for good what has run five thousand times and more (docs/decisions/0105).
WARM_REQUESTS = 10_000


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other problem is said, instead of after its whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"model: {message}; {self.prog} --help has the options\n")


def main(arguments: list[str]) -> int:
    """Run a command and return its exit status: 0 done, 1 the build or start failed, 2 bad usage or bad input."""
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (UserProblem, MissingDevice) as problem:
        print(f"model: {problem}", file=sys.stderr)
        return 2
    except BuildProblem as problem:
        print(f"model: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("model: interrupted", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    root = Parser(prog="python -m model", description="Build, measure and serve intent models.")
    commands = root.add_subparsers(required=True, metavar="build|inprocess|serve|device")
    add_build(commands.add_parser("build", help="train or take, compile, check parity, archive", epilog=BUILD_EXAMPLE))
    add_inprocess(commands.add_parser("inprocess", help="measure the model alone, without a server", epilog=ALONE_EXAMPLE))
    add_device(commands.add_parser("device", help="say whether this machine has a target's hardware"))
    serve = commands.add_parser("serve", help="start and stop TorchServe with an archive", epilog=SERVE_EXAMPLE)
    actions = serve.add_subparsers(required=True, metavar="start|stop|status")
    add_start(actions.add_parser("start", help="start, and return when a request has been answered"))
    for name, run, text in (("stop", run_stop, "stop what start started"), ("status", run_status, "say what runs")):
        action = actions.add_parser(name, help=text)
        add_state(action)
        action.set_defaults(run=run)
    return root


BUILD_EXAMPLE = "example: python -m model build --model minilm --target cpu --recipe tuned"
ALONE_EXAMPLE = "example: python -m model inprocess --archive model_store/intent-minilm-cpu-tuned.mar --duration 30"
SERVE_EXAMPLE = "example: python -m model serve start --archive model_store/intent-minilm-cpu-tuned.mar"


def add_build(command: argparse.ArgumentParser) -> None:
    """Add the options of build."""
    command.add_argument("--model", default="minilm", metavar="minilm|bert-base|FOLDER")
    command.add_argument("--target", default="cpu", help="the hardware to compile for (default cpu)")
    command.add_argument("--recipe", default="tuned", help="tuned (default), article, or for cpu blocks or fp32")
    command.add_argument("--task", type=task, default="intent", metavar="NAME",
                         help="what the model tells of an utterance: a column of the corpus (default intent)")  # fmt: skip
    command.add_argument("--corpus", type=Path, default=None, metavar="FILE",
                         help="default corpus/support.tsv; for other tasks corpus/assistant.tsv")  # fmt: skip
    command.add_argument("--seed", type=int, default=1, metavar="N")
    command.add_argument("--epochs", type=positive, default=None, metavar="N", help="default: by task or corpus size")
    command.add_argument("--store", type=Path, default=Path("model_store"), metavar="FOLDER")
    add_check(command)
    command.set_defaults(run=run_build)


def add_inprocess(command: argparse.ArgumentParser) -> None:
    """Add the options of inprocess."""
    command.add_argument("--archive", type=Path, required=True, metavar="FILE", help="a .mar that build made")
    command.add_argument("--corpus", type=Path, default=Path("corpus/support.tsv"), metavar="FILE")
    command.add_argument("--threads", type=positive, default=1, metavar="N", help="CPU threads (default 1)")
    command.add_argument("--duration", type=seconds, default=30.0, metavar="S", help="seconds in all (default 30)")
    command.add_argument("--interval", type=seconds, default=5.0, metavar="S", help="seconds per line (default 5)")
    command.add_argument("--results", type=Path, default=Path("results"), metavar="FOLDER", help="default results")
    add_check(command)
    command.set_defaults(run=run_inprocess)


def add_start(command: argparse.ArgumentParser) -> None:
    """Add the options of serve start."""
    command.add_argument("--target", default="cpu", help="the hardware that the archive is for (default cpu)")
    command.add_argument("--archive", type=Path, required=True, nargs="+", metavar="FILE",
                         help="a .mar that build made; several are served together")  # fmt: skip
    command.add_argument("--port", type=port, default=8080, metavar="N", help="first of five ports; 0: any free ones")
    command.add_argument(
        "--workers",
        type=positive,
        default=None,
        metavar="N",
        help="per model; default: one per NeuronCore, one per GPU, or all CPU cores but one; of several models one each",
    )
    command.add_argument("--threads", type=positive, default=1, metavar="N", help="CPU threads per worker (default 1)")
    command.add_argument("--cpus", default=None, metavar="LIST", help="cores that the server may use, such as 0,2-3")
    command.add_argument("--timeout", type=positive, default=None, metavar="S",
                         help="seconds to wait (default 120, on an accelerator 600)")  # fmt: skip
    command.add_argument(
        "--warm-requests",
        type=count,
        default=WARM_REQUESTS,
        metavar="N",
        help="sent before it is called ready, without use of the model, since Java is slow until it has compiled "
        f"what runs often (default {WARM_REQUESTS}; 0: none)",
    )
    add_state(command)
    add_check(command)
    command.set_defaults(run=run_start)


def add_device(command: argparse.ArgumentParser) -> None:
    """Add the options of device."""
    command.add_argument("--target", required=True, help="cpu, cuda, inf1 or inf2")
    command.set_defaults(run=run_device)


def add_check(command: argparse.ArgumentParser) -> None:
    """Add the option that a caller asks first whose next step takes minutes."""
    command.add_argument("--check", action="store_true", help="look at what was asked for and do nothing")


def add_state(command: argparse.ArgumentParser) -> None:
    """Add the option that says which server is meant."""
    command.add_argument("--state", type=Path, default=Path(".serve"), metavar="FOLDER", help="default .serve")


def run_build(options: argparse.Namespace) -> int:
    """Build; the last line on stdout is the archive's path."""
    from model.order import Order, check, default_corpus

    corpus = options.corpus or default_corpus(options.task)
    order = Order(options.model, options.target, options.recipe, corpus, options.seed, options.store, options.epochs,
                  options.task)  # fmt: skip
    if options.check:
        check(order)
        return 0
    # Threads that spin while they wait, as OpenMP's do, are ruinous beside any other work (docs/decisions/0106).
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from model.build import build

    print(build(order))
    return 0


def run_inprocess(options: argparse.Namespace) -> int:
    """Measure the model alone."""
    if options.check:
        return 0
    from model.corpus import read_corpus
    from model.inprocess import Wish, measure

    utterances, split = read_corpus(options.corpus).test()
    texts = [utterance.text for utterance in utterances]
    corpus = f"{options.corpus} (split {split}, {len(texts)} utterances)"
    measure(Wish(options.archive, corpus, texts, options.threads, options.duration, options.interval, options.results))
    return 0


def run_start(options: argparse.Namespace) -> int:
    """Start a server and say where it is."""
    from model.serve import Wish, check, start

    if options.check:
        check(options.state, options.port)
        return 0
    return start(
        Wish(
            target=options.target,
            archives=tuple(options.archive),
            port=options.port,
            workers=options.workers,
            threads=options.threads,
            cpus=options.cpus,
            state=options.state,
            timeout_s=options.timeout,
            warm_requests=options.warm_requests,
        )
    )


def run_device(options: argparse.Namespace) -> int:
    """Say what a target's workers would run on."""
    from model.device import describe, require_device
    from model.recipes import require_target

    require_target(options.target)
    require_device(options.target)
    print(f"device   {options.target}: {describe(options.target, len(os.sched_getaffinity(0)))}")
    return 0


def run_stop(options: argparse.Namespace) -> int:
    """Stop the server of a state folder, if any."""
    from model.serve import stop

    return stop(options.state)


def run_status(options: argparse.Namespace) -> int:
    """Say what runs: 0 a server, 1 none."""
    from model.serve import status

    return status(options.state)


def positive(text: str) -> int:
    """Return a whole number from 1."""
    return between(text, 1, None)


def count(text: str) -> int:
    """Return a whole number from 0."""
    return between(text, 0, None)


def seconds(text: str) -> float:
    """Return a number of seconds above zero; a unit s is allowed."""
    try:
        value = float(text[:-1] if text.endswith("s") else text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above zero: write for example 30 or 30s")
    return value


def task(text: str) -> str:
    """Return a task's name, which becomes part of a URL and of files' names."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", text):
        raise argparse.ArgumentTypeError(f"{text} is not a task's name: small letters, digits and _, a letter first")
    return text


def port(text: str) -> int:
    """Return the first port of five, or 0."""
    return between(text, 0, 65531)


def between(text: str, low: int, high: object) -> int:
    """Return a whole number within bounds, or refuse it as argparse wants."""
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if value < low or (isinstance(high, int) and value > high):
        limits = f"from {low}" + (f" to {high}" if high is not None else "")
        raise argparse.ArgumentTypeError(f"{text} is not a whole number {limits}")
    return value
