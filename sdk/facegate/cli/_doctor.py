"""`facegate doctor`: can this machine run a gate?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from facegate_edge import Diagnosis
    from facegate_edge._output import Output

__all__ = ["doctor"]

NOT_READY = 5
_MARKS = {"ok": "ok      ", "warning": "warning ", "problem": "PROBLEM "}


@click.command(short_help="Check this machine: engine, kernels, packages.")
@click.option("--engine", type=click.Choice(["litert", "tflite"]), help="Ask for this engine instead of choosing.")
@click.pass_obj
def doctor(output: Output, engine: str | None) -> None:
    """Check whether this machine can run a gate, and say what to do where it cannot.

    Exits with 5 if a gate could not run here. FACEGATE_ENGINE forces an engine, as it does for a gate.
    """
    import facegate_edge  # noqa: PLC0415 - help must not wait for it

    diagnosis = facegate_edge.doctor(engine)
    data = {"ready": diagnosis.ready, "checks": [asdict(check) for check in diagnosis.checks]}
    output.emit(data, lambda: _text(diagnosis))
    if not diagnosis.ready:
        click.get_current_context().exit(NOT_READY)


def _text(diagnosis: Diagnosis) -> str:
    width = max(len(check.name) for check in diagnosis.checks)
    lines = []
    for check in diagnosis.checks:
        lines.append(f"{_MARKS[check.status]}{check.name:{width}}  {check.value}")
        if check.advice:
            lines.append(f"{'':{8 + width}}  -> {check.advice}")
    lines.append("\na gate can run here" if diagnosis.ready else "\na gate cannot run here")
    return "\n".join(lines)
