"""Who may import whom: the table of docs/decisions/0001-rings.md, held by reading every import in the tree."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STDLIB = set(sys.stdlib_module_names)

PURE = {
    "abort",
    "answer",
    "arrival_spec",
    "arrivals",
    "calibration",
    "call_graph",
    "calls",
    "capacity",
    "capacity_report",
    "chat_log",
    "colours",
    "compare",
    "compare_report",
    "conditions",
    "contract",
    "contrast",
    "corpus",
    "cost",
    "description",
    "description_report",
    "duration",
    "faults",
    "figures",
    "findings",
    "fitting",
    "forecast",
    "forecast_report",
    "groups",
    "haste",
    "health",
    "history",
    "junit",
    "latency_curve",
    "layouts",
    "messages",
    "mix",
    "noise",
    "objective",
    "plan",
    "plan_report",
    "quantiles",
    "queueing",
    "report",
    "reproduction",
    "samples",
    "session_spec",
    "sessions",
    "settings",
    "simulation",
    "stand_in",
    "statistics",
    "table",
    "timeline",
    "timetable",
    "units",
    "verdict",
    "wander",
}
RIM = {
    "admission",
    "anonymised",
    "calibrated",
    "candidates",
    "capacity_page",
    "client",
    "controls",
    "corpus_file",
    "dealing",
    "describe_page",
    "dispatcher",
    "feed",
    "fold",
    "generator",
    "guard",
    "html_report",
    "intake",
    "interrupt",
    "live",
    "keeper",
    "locust_table",
    "locust_timer",
    "log_file",
    "machine",
    "metrics",
    "orders",
    "page",
    "plan_page",
    "plot_page",
    "player",
    "plots",
    "preflight",
    "prices",
    "prober",
    "record",
    "run_json",
    "runfolder",
    "runs",
    "search",
    "searching",
    "sides",
    "timer",
    "tokenizer_file",
    "traces",
    "turns",
    "turnstile",
    "users",
    "worker",
    "workers",
}
EDGE = {
    "__main__",
    "arguments",
    "cli",
    "describe_command",
    "forecast_command",
    "live_page",
    "locust_adapter",
    "plan_command",
}

# What a pure module may use beside its pure neighbours: values and arithmetic.
PURE_MAY = {"__future__", "collections", "dataclasses", "json", "math", "numpy", "re", "scipy", "struct", "typing", "urllib"}
PURE_MAY |= {"bisect", "csv", "difflib", "hashlib", "heapq", "itertools", "msgspec", "shlex", "unicodedata", "xml"}
NEVER_IN_PURE_CODE = {"open", "print", "input"}


def imports(path: Path) -> set[str]:
    """Dotted names of everything that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def packages(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def chatload_modules(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(path) if name.startswith("chatload.")} - {"__version__"}


def files(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"no Python file in {folder}"
    return found


def test_every_module_of_chatload_has_a_ring():
    assert {path.stem for path in files("chatload")} - {"__init__"} == PURE | RIM | EDGE


@pytest.mark.parametrize("name", sorted(PURE))
def test_a_pure_module_knows_values_and_arithmetic_only(name):
    path = ROOT / "chatload" / f"{name}.py"
    assert packages(path) - {"chatload"} <= PURE_MAY
    assert chatload_modules(path) <= PURE
    called = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & NEVER_IN_PURE_CODE


@pytest.mark.parametrize("name", sorted(RIM))
def test_a_rim_module_does_not_know_the_edge(name):
    assert chatload_modules(ROOT / "chatload" / f"{name}.py") <= PURE | RIM


def test_the_dispatcher_and_the_client_do_not_judge():
    judging = {"abort", "statistics", "verdict", "objective", "report", "fold"}
    for name in ("dispatcher", "client", "record", "timer", "generator"):
        assert not chatload_modules(ROOT / "chatload" / f"{name}.py") & judging


def test_only_the_adapter_imports_locust():
    users = {path.stem for path in files("chatload") if "locust" in packages(path)}
    assert users == {"locust_adapter"}


def test_the_two_sides_never_import_each_other():
    for folder in ("handlers", "model"):
        for path in files(folder):
            assert not packages(path) & {"chatload", "locust", "gevent", "tests", "benchmarks"}, path
    for folder in ("chatload", "locustfiles"):
        for path in files(folder):
            assert not packages(path) & {"handlers", "model", "tests", "benchmarks", "torch", "transformers"}, path


def test_handlers_import_nothing_of_ours_but_their_flat_siblings():
    siblings = {path.stem for path in files("handlers")}
    allowed = STDLIB | siblings | {"torch", "tokenizers", "numpy", "onnxruntime", "ts", "torch_neuron", "torch_neuronx"}
    for path in files("handlers"):
        assert packages(path) <= allowed, path


def test_scenarios_hold_no_loops_and_no_arithmetic():
    for path in files("locustfiles"):
        assert packages(path) <= {"chatload", "locust"}, path
        for node in ast.walk(ast.parse(path.read_text())):
            assert not isinstance(node, (ast.For, ast.While, ast.If, ast.BinOp, ast.comprehension)), path


def test_no_run_and_no_command_begins_with_importing_what_few_of_them_need():
    code = "import sys, chatload.cli, chatload.locust_adapter; print({'scipy.stats', 'scipy.optimize'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_what_ends_a_run_imports_no_other_command():
    code = "import sys, chatload.fold, chatload.html_report; print({'chatload.cli', 'chatload.log_file'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
