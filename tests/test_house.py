"""The house rules: imports point downward and never in a circle, and the README's map names what is
there.
"""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tinygrad_llm"
FLOORS = [
    "ops kernels blocks checks errors files progress config tensor_files",
    "tape calls tensor functional twins text",
    "nn explain",
    "models",
    "data training inference formats",
    "finetuning",
    "recipes",
    "cli",
    "__main__",
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms.split()}
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path):
    """The project's modules that a file imports anywhere, those for type checkers alone left
    out.
    """
    tree = ast.parse(path.read_text())
    skipped = {
        id(n)
        for guard in ast.walk(tree)
        if isinstance(guard, ast.If) and ast.unparse(guard.test) == "TYPE_CHECKING"
        for n in ast.walk(guard)
    }
    modules = {module_name(p) for p in FILES} | {"tinygrad_llm"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in skipped and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full in modules or node.module in modules:
                    yield full if full in modules else node.module
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name in modules)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_point_downward(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for target in imports(path):
        other = target.split(".")[1] if "." in target else None
        allowed = other == room or (other in FLOOR and FLOOR[other] < FLOOR[room])
        same_floor = (
            other in FLOOR and FLOOR[other] == FLOOR[room] == 0 and "kernels" != other != "ops"
        )
        tape = FLOOR[room] == 1 and other in ("tape", "calls", "tensor", "twins", "functional")
        assert allowed or same_floor or tape, (
            f"{module_name(path)} imports {target}, which is not below it"
        )


def test_no_import_goes_in_a_circle():
    graph = {module_name(path): set(imports(path)) - {module_name(path)} for path in FILES}
    list(graphlib.TopologicalSorter(graph).static_order())
    with pytest.raises(graphlib.CycleError):
        list(graphlib.TopologicalSorter({"a": {"b"}, "b": {"a"}}).static_order())


def test_ops_and_kernels_never_see_each_other():
    for room, other in (("ops", "kernels"), ("kernels", "ops")):
        for path in (PACKAGE / room).glob("*.py"):
            assert not any(f"tinygrad_llm.{other}" in target for target in imports(path)), path


def test_readme_map_names_every_room_and_nothing_else():
    text = (ROOT / "README.md").read_text()
    map_ = re.search(r"```text\ntinygrad_llm/\n(.*?)```", text, re.DOTALL).group(1)
    named = {line.split()[0].rstrip("/") for line in map_.splitlines() if line.startswith("  ")}
    there = {p.name for p in PACKAGE.iterdir() if p.name != "__pycache__"}
    assert named == there


def test_import_loads_no_numba_and_warns_of_nothing():
    code = "import sys, tinygrad_llm; print('numba' in sys.modules, 'matplotlib' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert done.stdout.split() == ["False", "False"]


def test_kernels_is_the_switch_even_after_kernels_were_loaded():
    code = (
        "import tinygrad_llm, numpy as np; from tinygrad_llm import kernels, Tensor\n"
        "with kernels(): Tensor([[1.0]]) @ Tensor([[1.0]])\n"
        "from tinygrad_llm import kernels as again; print(again is kernels, callable(again))\n"
        "import tinygrad_llm.kernels.simd as s; print(s is kernels.simd)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.split() == ["True"] * 3
