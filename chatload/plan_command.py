"""Plan command: chatload plan. Its arguments and the files that it writes; no arithmetic."""

from __future__ import annotations

import argparse
from pathlib import Path

from chatload import arguments, candidates, cost, plan, plan_report, prices


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command to the command line's."""
    parser = commands.add_parser(
        "plan",
        help="how many instances of which type a traffic takes at its peak, and which is cheapest",
        description="Of each instance type, the fewest instances that keep the objective at the peak, and their bill.\n"
        "SOURCE is a calibration run against one instance (see chatload forecast), which is simulated, or a capacity.json\n"
        "(or its folder), which counts in place of a forecast where a type has both.",
        epilog="example: chatload plan c7i.xlarge=results/cpu inf1.xlarge=results/inf1 --workers 1,4 --questions 1e6 "
        "--day corpus/day.txt",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sources", nargs="+", metavar="INSTANCE=SOURCE", help="an instance type and what is known of one")
    traffic = parser.add_mutually_exclusive_group(required=True)
    traffic.add_argument("--questions", "--per-month", dest="questions", type=float, help="questions a month")
    traffic.add_argument("--peak-rate", type=float, help="arrivals per second at the peak, where that is known")
    arguments.add_curve_options(parser)
    parser.add_argument(
        "--workers", default="1", help="workers that served each run, separated by commas, or of all (default: 1)"
    )
    parser.add_argument("--objective", help="what the peak has to meet (default: that of the sources)")
    arguments.add_queue_options(parser)
    arguments.add_price_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the plan for machines")
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write it as a page, with the bill over the traffic plotted"
    )
    parser.set_defaults(command=_plan)


def _plan(options: argparse.Namespace) -> None:
    listed, demand = prices.read(options.prices), _demand(options)
    read = _sources(options, listed)
    candidates.check_alike(read)
    clauses = candidates.common_objective(read, options.objective)
    peak = options.peak_rate or cost.busiest(options.questions, demand.curve)
    terms = plan.Terms(peak, options.arrivals, options.routing, options.queue, clauses, options.seed)
    choices = [plan.choose(source.candidate, terms) for source in read]
    report = plan_report.text(terms, demand, choices) + listed.origins(options.region, _types(read))
    print(report, end="")
    if not (options.html or options.json):
        return
    grown = plan.growth(choices, terms)
    if options.json:
        arguments.write_json(options.json, plan_report.machine(terms, demand, choices, grown))
    if options.html:
        from chatload import plan_page  # takes half a second to import

        arguments.write(options.html, plan_page.render(choices, grown, peak, report))


def _demand(options: argparse.Namespace) -> plan_report.Demand:
    arguments.check_queue_options(options)
    if options.peak_rate is None:
        arguments.check_above_zero("--questions", options.questions)
        return plan_report.Demand(options.questions, arguments.curve(options))
    arguments.check_above_zero("--peak-rate", options.peak_rate)
    if options.day or options.peak != 1:
        raise arguments.OptionError(
            "--peak-rate is the peak itself: leave out --peak and --day, or write --questions in its place"
        )
    return plan_report.Demand(None, [1.0])


def _sources(options: argparse.Namespace, listed: cost.Prices) -> list[candidates.Source]:
    pairs = [text.partition("=") for text in options.sources]
    for (instance, equals, path), text in zip(pairs, options.sources, strict=True):
        if not (instance and equals and path):
            raise arguments.OptionError(f"{text!r}: write an instance type and its run, for example c7i.xlarge=results/cpu")
    timeout_s = arguments.duration_s("--timeout", options.timeout) if options.timeout else None
    return [
        candidates.read(instance, Path(path), listed.of(options.region, instance), workers, timeout_s)
        for (instance, _, path), workers in zip(pairs, _workers(options.workers, len(pairs)), strict=True)
    ]


def _workers(text: str, count: int) -> list[int]:
    """The number of workers of each of ``count`` sources; a single number is that of all."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise arguments.OptionError(f"--workers {text!r}: write whole numbers separated by commas") from None
    for number in numbers:
        arguments.check_within(1, 1_000, "--workers", number)
    if len(numbers) not in (1, count):
        raise arguments.OptionError(f"--workers {text}: {count} sources need {count} numbers, or one for all")
    return numbers * count if len(numbers) == 1 else numbers


def _types(read: list[candidates.Source]) -> list[str]:
    return list(dict.fromkeys(source.candidate.instance for source in read))
