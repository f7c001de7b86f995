#!/usr/bin/env python3
"""Instruction budgets: what kernels and models take on emulated cores, held against budgets.json.

    python tests/emulated/budgets.py check                      exit code 1 if one takes more than its budget
    python tests/emulated/budgets.py check --only '*warp*' --json
    python tests/emulated/budgets.py update                     the counts of now become the budgets

Needs the emulated machines (`make arm`) and the wheels (`make wheels`): what is counted is what is shipped. Models that
are not there are said to be not counted. Counts repeat to a thousandth; they are no times.

Exit codes: 0 within the budgets, 1 over one, or an entry without one, 2 usage, 5 no machine, no wheel, or a run failed.
"""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))
from budget_models import models, tflite
from cores import CORES
from counting import ROOT, WHEELS, count_kernels, count_model, find_wheel, unpacked, versions
from errors import MachineError
from machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

BUDGETS = Path(__file__).with_name("budgets.json")
WHEELHOUSE = ROOT / "wheelhouse"
TOLERANCE = 2.0
KERNEL_CORES = ("cortex-a7", "cortex-a72", "cortex-a76")
MODEL_CORES = ("cortex-a72", "cortex-a76")
ABOUT = (
    "Instructions of one call of a kernel, and of one run of a model, on emulated cores; see docs/kernels.md. "
    "Written by tests/emulated/budgets.py update."
)
WITHIN, CHEAPER, OVER, NEW, GONE, UNCOUNTED = "within", "cheaper", "OVER", "no budget", "gone", "not counted"
_FAILURES = (OVER, NEW, GONE)


@dataclass(frozen=True, slots=True)
class Row:
    """An entry of the table.

    Attributes:
        name: "CORE/kernel/NAME" or "CORE/model/NAME".
        counted: instructions; None if it was not counted.
        budget: likewise; None if there is none.
        verdict: one of the seven above.
        why: it was not counted.
    """

    name: str
    counted: int | None
    budget: int | None
    verdict: str
    why: str = ""

    @property
    def ratio(self) -> float | None:
        """Counted over budget."""
        return self.counted / self.budget if self.counted is not None and self.budget else None


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted.

    Attributes:
        found: by entry.
        absent: entries that could not be counted, and why.
    """

    found: Mapping[str, int]
    absent: Mapping[str, str]


def judge(counts: Counts, budgets: Mapping[str, int], tolerance: float) -> list[Row]:
    """Every entry that was counted, should have been, or has a budget, by name.

    Args:
        counts: of the entries that are looked at.
        budgets: of the same ones.
        tolerance: in percent: what may be more, and what is worth lowering a budget for.
    """
    rows = []
    for name in sorted({*counts.found, *counts.absent, *budgets}):
        counted, budget = counts.found.get(name), budgets.get(name)
        if counted is None:
            verdict = UNCOUNTED if name in counts.absent else GONE
        elif budget is None:
            verdict = NEW
        elif counted > budget * (1 + tolerance / 100):
            verdict = OVER
        else:
            verdict = CHEAPER if counted < budget * (1 - tolerance / 100) else WITHIN
        rows.append(Row(name, counted, budget, verdict, counts.absent.get(name, "")))
    return rows


def count(machine: Machine, wheels: Path, only: str, tell: Callable[[str], object]) -> Counts:
    """Count what matches a pattern.

    Args:
        machine: the emulated one.
        wheels: folder with facegate's wheels.
        only: pattern of entries' names.
        tell: called with what is being counted.

    Raises:
        MachineError: a wheel is missing, or a run failed.
    """
    found: dict[str, int] = {}
    absent: dict[str, str] = {}
    for cpu in KERNEL_CORES:
        head = f"{cpu}/kernel/"
        if not could_match(only, head):
            continue
        tell(f"{cpu}: kernels")
        glob = only.removeprefix(head) if only.startswith(head) else "*"
        with unpacked(find_wheel(WHEELS[CORES[cpu].arch], wheels)) as site:
            found |= {head + name: n for name, n in count_kernels(machine, cpu, site, [glob]).items()}
    for model in models():
        names = {cpu: f"{cpu}/model/{model.name}" for cpu in MODEL_CORES}
        wanted = {cpu: name for cpu, name in names.items() if fnmatch.fnmatchcase(name, only)}
        if not wanted:
            continue
        if why := model.missing():
            absent |= dict.fromkeys(wanted.values(), why)
            continue
        tell(f"{model.name}: {', '.join(wanted)}")
        path = tflite(model, machine.folder / "budget-models")
        found |= {name: count_model(machine, cpu, path) for cpu, name in wanted.items()}
    return Counts({name: n for name, n in found.items() if fnmatch.fnmatchcase(name, only)}, absent)


def could_match(only: str, head: str) -> bool:
    """Whether a name that begins with `head` can match the pattern: as far as the pattern has no wildcard."""
    plain = only[: min((only.find(mark) for mark in "*?[" if mark in only), default=len(only))]
    return plain.startswith(head) or head.startswith(plain)


def load(path: Path) -> dict[str, Any]:
    """The budgets' file; an empty one if it is not there."""
    if not path.exists():
        return {"versions": {}, "budgets": {}}
    return dict(json.loads(path.read_text(encoding="utf-8")))


def save(path: Path, found: Mapping[str, int], made_by: Mapping[str, str]) -> None:
    """Write the budgets, one line each."""
    content = {"about": ABOUT, "versions": dict(made_by), "budgets": dict(sorted(found.items()))}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def update(path: Path, counts: Counts, made_by: Mapping[str, str], only: str) -> str:
    """Make the counts the budgets; what to tell about it.

    Budgets of entries that could not be counted stay. Those of entries that are gone go.

    Raises:
        MachineError: only a part was counted, by other versions than the rest of the file.
    """
    known = load(path)
    kept = {name: n for name, n in known["budgets"].items() if name in counts.absent}
    others = {name: n for name, n in known["budgets"].items() if not fnmatch.fnmatchcase(name, only)}
    if (kept or others) and known["versions"] != made_by:
        raise MachineError(
            f"the budgets that would stay are by {_listed(known['versions'])}, not by {_listed(made_by)}",
            "update all of them, with the real models there",
        )
    save(path, {**others, **kept, **counts.found}, made_by)
    return f"{path.name}: {len(counts.found)} budgets written, {len(kept) + len(others)} kept"


def _listed(made_by: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in made_by.items()) or "nothing"


def shown(rows: Sequence[Row]) -> str:
    """The table."""
    width = max((len(row.name) for row in rows), default=0)
    lines = [f"{'':{width}} {'counted':>13} {'budget':>13} {'ratio':>7}"]
    for row in rows:
        counted = "-" if row.counted is None else f"{row.counted:,}"
        budget = "-" if row.budget is None else f"{row.budget:,}"
        ratio = "-" if row.ratio is None else f"{row.ratio:.3f}"
        verdict = "" if row.verdict == WITHIN else f"  {row.verdict}" + (f": {row.why}" if row.why else "")
        lines.append(f"{row.name:{width}} {counted:>13} {budget:>13} {ratio:>7}{verdict}")
    return "\n".join(lines)


def summary(rows: Sequence[Row], tolerance: float) -> str:
    """What the table says, in a line or some."""
    number = {verdict: sum(row.verdict == verdict for row in rows) for verdict in (*_FAILURES, CHEAPER, UNCOUNTED)}
    lines = [f"{len(rows) - number[UNCOUNTED]} counted, {number[OVER]} over their budgets by more than {tolerance:g} %"]
    if number[CHEAPER]:
        lines.append(f"{number[CHEAPER]} clearly cheaper than their budgets: lower these with `budgets.py update`")
    if number[NEW]:
        lines.append(f"{number[NEW]} without a budget: give them one with `budgets.py update`")
    if number[GONE]:
        lines.append(f"{number[GONE]} with a budget do not exist any more: `budgets.py update` removes it")
    if number[UNCOUNTED]:
        lines.append(f"{number[UNCOUNTED]} not counted: the table says why")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n\n")[0],
        epilog="exit codes: 0 within, 1 over or without a budget, 2 usage, 5 no machine, no wheel, a run failed",
    )
    parser.add_argument("command", choices=["check", "update"])
    parser.add_argument(
        "--only", default="*", metavar="GLOB", help="entries whose names match: 'cortex-a72/kernel/warp*'"
    )
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, metavar="PERCENT", help="default: %(default)g")
    parser.add_argument("--wheels", type=Path, default=WHEELHOUSE, metavar="FOLDER", help="default: wheelhouse")
    parser.add_argument("--file", type=Path, default=BUDGETS, metavar="FILE", help="default: budgets.json beside this")
    parser.add_argument("--json", action="store_true", help="the table as JSON")
    given = parser.parse_args(arguments)
    if not 0 <= given.tolerance <= 100:
        parser.error("a tolerance is 0 to 100 percent")
    machine = Machine()
    try:
        if reason := machine.unavailable():
            raise MachineError(reason)  # noqa: TRY301 - one place reports it
        counts = count(machine, given.wheels, given.only, lambda what: print(what, file=sys.stderr, flush=True))
        if not (counts.found or counts.absent):
            parser.error(f"no entry matches {given.only!r}")
        made_by = versions(machine, given.wheels)
        if given.command == "update":
            print(update(given.file, counts, made_by, given.only))
            return 0
        known = load(given.file)
    except MachineError as error:
        print(f"budgets: {error}", file=sys.stderr)
        if error.hint:
            print(f"budgets: {error.hint}", file=sys.stderr)
        return 5
    except KeyboardInterrupt:
        return 130
    budgets = {name: n for name, n in known["budgets"].items() if fnmatch.fnmatchcase(name, given.only)}
    rows = judge(counts, budgets, given.tolerance)
    failed = any(row.verdict in _FAILURES for row in rows)
    if given.json:
        listed = [dataclasses.asdict(row) | {"ratio": row.ratio} for row in rows]
        print(json.dumps({"passed": not failed, "tolerance": given.tolerance, "versions": made_by, "rows": listed}))
    else:
        print(shown(rows))
        print(summary(rows, given.tolerance))
        if known["versions"] != made_by:
            print(f"counted with {_listed(made_by)}; the budgets are by {_listed(known['versions'])}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
