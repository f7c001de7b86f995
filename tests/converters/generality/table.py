"""Writes the table of architectures in docs/lowering.md: what each graph of tests/vectors/graphs is lowered to.

    python tests/converters/generality/table.py [--check]

`--check` writes nothing: it says whether the page has what is measured here (errors aside, which differ by machine).
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).resolve().parent))

import graphs

from facegate_convert import load_graph, lower
from facegate_convert._interpreter import quiet
from facegate_convert._measure import partitions

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "lowering.md"
BEGIN, END = "<!-- table: architectures -->", "<!-- end -->"
HEAD = ("architecture", "exporter, operator set", "ONNX nodes", "operators", "TRANSPOSE", "partitions", "error")


def _helpers() -> Any:
    """The test suite's own comparison with onnxruntime."""
    spec = importlib.util.spec_from_file_location(
        "facegate_conftest", Path(__file__).resolve().parents[1] / "conftest.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure(name: str, helpers: Any) -> tuple[str, str, int, int, int, int, float]:
    """One row: architecture, what wrote it, nodes, operators, TRANSPOSE operators, partitions, error."""
    data, size = graphs.load(name), graphs.image_size(name)
    feeds = graphs.feeds(data, size)
    lowered = lower(load_graph(data, input_size=size))
    with quiet():
        found = helpers._run(lowered, feeds)  # the tests' fixtures, without pytest
        pieces = partitions(lowered.model)
    error = helpers._difference(lowered, helpers._reference(data, feeds), found)
    parts = name.split(".")
    kind = parts[1].replace("-", " ") + (" (open size)" if len(parts) > 2 else "")
    nodes = len(onnx.ModelProto.FromString(data).graph.node)
    operators = lowered.operators
    return parts[0], kind, nodes, sum(operators.values()), operators.get("TRANSPOSE", 0), pieces, error


def rows() -> list[tuple[str, ...]]:
    """The table: graphs of one architecture that give the same are one row."""
    helpers = _helpers()
    found: dict[str, list[tuple[str, str, int, int, int, int, float]]] = {}
    for name in graphs.names():
        row = measure(name, helpers)
        found.setdefault(row[0], []).append(row)
    table = []
    for name, group in found.items():
        for result in sorted({r[3:6] for r in group}):
            same = [r for r in group if r[3:6] == result]
            nodes = sorted({r[2] for r in same})
            span = str(nodes[0]) if len(nodes) == 1 else f"{nodes[0]}-{nodes[-1]}"
            worst = float(np.max([r[6] for r in same]))
            table.append((name, "; ".join(_kinds(same)), span, *map(str, result), f"{worst:.0e}"))
    return table


def _kinds(group: list[Any]) -> list[str]:
    """The exporters with their operator sets."""
    found: dict[str, list[str]] = {}
    for row in group:
        exporter, rest = row[1].split(" ", 1)
        found.setdefault(exporter, []).append(rest)
    return [f"{exporter} {', '.join(sorted(sets))}" for exporter, sets in sorted(found.items())]


def text(table: list[tuple[str, ...]]) -> str:
    """The table as Markdown."""
    lines = [HEAD, ("---", "---", "--:", "--:", "--:", "--:", "--:"), *table]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def section(page: str) -> tuple[str, str, str]:
    """A page before its table, the table, and what follows."""
    start, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    return page[:start], page[start:end].strip(), page[end:]


def without_errors(table: str) -> list[list[str]]:
    """The rows of a Markdown table but for their last column."""
    return [line.split("|")[:-2] for line in table.splitlines()]


def main(arguments: list[str]) -> int:
    """Write the table into the page, or compare it with the page."""
    before, old, after = section(PAGE.read_text(encoding="utf-8"))
    new = text(rows())
    if "--check" in arguments:
        same = without_errors(old) == without_errors(new)
        sys.stdout.write(f"{PAGE}: {'up to date' if same else 'not what is measured here'}\n")
        return 0 if same else 1
    PAGE.write_text(f"{before}\n{new}\n{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
