"""The floor: handlers and model run on Python 3.9, and an archive carries all that its handlers import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HANDLERS = sorted((ROOT / "handlers").glob("*.py"))
SOURCES = [*HANDLERS, *sorted((ROOT / "model").glob("*.py"))]
MAY_IMPORT = {"torch", "tokenizers", "numpy", "onnxruntime"}
TYPES = {"str", "bytes", "int", "float", "bool", "dict", "list", "set", "tuple", "object", "Path", "Any"}
SINCE_310 = {"tomllib", "itertools.pairwise", "contextlib.chdir", "datetime.UTC", "enum.StrEnum", "types.NoneType"}


def name(path):
    return f"{path.parent.name}/{path.name}"


def test_there_is_something_to_check():
    assert len(HANDLERS) >= 4
    assert len(SOURCES) >= 20


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_the_grammar_is_python_3_9_s(path):
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))


def is_type(node):
    """Tell whether an operand of `|` is a type or None; others are numbers and sets, which 3.9 can join."""
    if isinstance(node, ast.Constant):
        return node.value is None
    return isinstance(node, ast.Subscript) or (isinstance(node, ast.Name) and node.id in TYPES)


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_newer_syntax_that_parses_stands_in_annotations_only(path):
    """`X | None` parses as an operator on 3.9 and fails there at run time, but for annotations, which are not run."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    annotations = [node for node in ast.walk(tree) if isinstance(node, (ast.AnnAssign, ast.arg, ast.FunctionDef))]
    deferred = {
        id(part)
        for node in annotations
        for annotation in [getattr(node, "annotation", None) or getattr(node, "returns", None)]
        if annotation is not None
        for part in ast.walk(annotation)
    }
    unions = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) and id(node) not in deferred
        if any(is_type(side) for side in (node.left, node.right))
    ]
    assert not unions
    if deferred:
        assert "from __future__ import annotations" in path.read_text(encoding="utf-8")
    strict_zip = [
        keyword.value.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if isinstance(node.func, ast.Name) and node.func.id == "zip" and keyword.arg == "strict"
    ]
    assert not strict_zip


@pytest.mark.parametrize("path", HANDLERS, ids=name)
def test_a_handler_imports_the_archive_s_modules_and_little_else(path):
    siblings = {sibling.stem for sibling in HANDLERS}
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    roots = {dotted.partition(".")[0] for dotted in imported}
    assert roots <= set(sys.stdlib_module_names) | MAY_IMPORT | siblings | {"__future__"}
    assert not imported & SINCE_310


@pytest.mark.parametrize("path", HANDLERS, ids=name)
def test_each_handler_module_imports_alone(path, tmp_path):
    """TorchServe hides an ImportError behind another one, so that it must not come to that."""
    code = f"import sys; sys.path.insert(0, {str(path.parent)!r}); import {path.stem}"
    code += "; assert 'transformers' not in sys.modules"
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
