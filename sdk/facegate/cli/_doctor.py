"""`facegate doctor`: can this machine run a gate?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facegate_edge.errors import FacegateError

if TYPE_CHECKING:
    from facegate_edge import Check, Diagnosis
    from facegate_edge._output import Output

__all__ = ["doctor"]

NOT_READY = 5
_MARKS = {"ok": "ok      ", "warning": "warning ", "problem": "PROBLEM "}


@click.command(short_help="Check this machine: engine, kernels, packages.")
@click.option("--engine", type=click.Choice(["litert", "tflite"]), help="Ask for this engine instead of choosing.")
@click.option(
    "--bundle", type=click.Path(path_type=Path), help="Also check that this bundle was built for such a machine."
)
@click.pass_obj
def doctor(output: Output, engine: str | None, bundle: Path | None) -> None:
    """Check whether this machine can run a gate, and say what to do where it cannot.

    Exits with 5 if a gate could not run here. FACEGATE_ENGINE forces an engine, as it does for a gate.
    """
    import facegate_edge  # noqa: PLC0415 - help must not wait for it

    asked = (_built_for(bundle),) if bundle is not None else ()
    diagnosis = facegate_edge.doctor(engine)
    diagnosis = facegate_edge.Diagnosis((*diagnosis.checks, _reference(), *asked))
    data = {"ready": diagnosis.ready, "checks": [asdict(check) for check in diagnosis.checks]}
    output.emit(data, lambda: _text(diagnosis))
    if not diagnosis.ready:
        click.get_current_context().exit(NOT_READY)


def _built_for(path: Path) -> Check:
    """Whether a bundle was built for this kind of machine; who signed it is asked by `facegate bundle verify`."""
    from facegate_edge._bundle import open_bundle  # noqa: PLC0415 - help must not wait for it
    from facegate_edge._doctor import bundle_check  # noqa: PLC0415

    with open_bundle(path, development=True) as bundle:
        return bundle_check(bundle.manifest.target)


def _reference() -> Check:
    """What the packaged reference bundle is; its absence keeps no gate from running."""
    from facegate._reference import open_reference_bundle  # noqa: PLC0415 - help must not wait for it
    from facegate_edge import Check  # noqa: PLC0415

    try:
        with open_reference_bundle() as bundle:
            manifest = bundle.manifest
    except FacegateError as error:
        return Check("reference bundle", "warning", str(error), error.hint)
    return Check("reference bundle", "ok", f"{manifest.version}, for demonstrations only: recognizes rendered faces")


def _text(diagnosis: Diagnosis) -> str:
    width = max(len(check.name) for check in diagnosis.checks)
    lines = []
    for check in diagnosis.checks:
        lines.append(f"{_MARKS[check.status]}{check.name:{width}}  {check.value}")
        if check.advice:
            lines.append(f"{'':{8 + width}}  -> {check.advice}")
    lines.append("\na gate can run here" if diagnosis.ready else "\na gate cannot run here")
    return "\n".join(lines)
