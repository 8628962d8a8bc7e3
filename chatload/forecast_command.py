"""Forecast command: chatload forecast. Its arguments and the file that it writes; no arithmetic."""

from __future__ import annotations

import argparse
from pathlib import Path

from chatload import arguments, calibrated, forecast, forecast_report, objective


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command to the command line's."""
    parser = commands.add_parser(
        "forecast",
        help="latency and capacity at another rate or of more instances, simulated from one quiet run",
        description="Simulates the queue of a server that RUN has shown at low load, and says what of the forecast is\n"
        "measured, assumed and extrapolated.",
        epilog="example: chatload forecast results/quiet --rate 300 --instances 2 --routing least-outstanding",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "run",
        type=Path,
        metavar="RUN",
        help="the folder of a run with workers at most 40 %% busy; undecided objectives are fine",
    )
    traffic = parser.add_mutually_exclusive_group(required=True)
    traffic.add_argument("--rate", type=float, help="arrivals per second")
    traffic.add_argument("--trace", type=Path, metavar="FILE", help="a CSV whose first column is each arrival's second")
    parser.add_argument("--duration", default="60s", help="length of a simulated run at a rate (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="workers that served RUN, of each instance (default: 1)")
    parser.add_argument("--instances", type=int, default=1, help="servers behind a balancer (default: 1)")
    parser.add_argument("--objective", help="what capacity is sought for (default: RUN's)")
    arguments.add_queue_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the forecast for machines")
    parser.set_defaults(command=_forecast)


def _forecast(options: argparse.Namespace) -> None:
    arguments.check_within(1, 1_000, "--workers", options.workers)
    arguments.check_within(1, 1_000, "--instances", options.instances)
    arguments.check_queue_options(options)
    run = calibrated.read(options.run, options.workers)
    timeout_s = arguments.duration_s("--timeout", options.timeout) if options.timeout else run.timeout_s
    fleet = forecast.Fleet(options.instances, options.routing, options.queue, timeout_s)
    wanted = objective.parse(options.objective or run.objective)
    question = forecast_report.Question(run.about, run.calibration, _traffic(options), fleet, wanted, options.seed)
    found = forecast.forecast(run.calibration, question.traffic, fleet, wanted, options.seed)
    print(forecast_report.text(question, found), end="")
    if options.json:
        arguments.write_json(options.json, forecast_report.machine(question, found))


def _traffic(options: argparse.Namespace) -> forecast.Traffic:
    if options.trace:
        return forecast.traced(calibrated.read_trace(options.trace))
    arguments.check_above_zero("--rate", options.rate)
    return forecast.at_rate(options.arrivals, options.rate, arguments.duration_s("--duration", options.duration))
