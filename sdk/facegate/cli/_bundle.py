"""`facegate bundle verify` and `inspect`; building and signing are the converter's."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facegate.cli._trust import open_trusted, trust_options
from facegate_edge._bundle import open_bundle
from facegate_edge._targets import check_fit, targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegate_edge._bundle import Bundle
    from facegate_edge._manifest import Manifest, ModelInfo
    from facegate_edge._output import Output


@click.command(short_help="Check a bundle's signature, manifest and hashes.")
@click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option("--here", is_flag=True, help="Also require that it was built for a machine like this one.")
@trust_options
@click.pass_obj
def verify(output: Output, path: Path, here: bool, trust: Path | None, development: bool) -> None:
    """Check all of a bundle as a device does: layout, signature, manifest, hashes.

    Whether this machine is of the kind that it was built for is shown. With --here, exits with 5 if a gate would refuse
    it for that: on the device, not on the host where it was built.
    """
    with open_trusted(path, trust, development=development) as bundle:
        if here:
            check_fit(bundle.manifest.target)
        output.emit(
            _summary(bundle), "\n".join((_title(bundle), _signature(bundle), *_warning(bundle), *_built_for(bundle)))
        )


@click.command(short_help="Show what is in a bundle.")
@click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.pass_obj
def inspect(output: Output, path: Path) -> None:
    """Show a bundle's manifest. Hashes are checked; who signed it is shown and not judged: `verify` does that."""
    with open_bundle(path, development=True) as bundle:
        manifest = bundle.manifest
        output.emit(_summary(bundle) | {"manifest": dataclasses.asdict(manifest)}, lambda: _describe(bundle, manifest))


def _summary(bundle: Bundle) -> dict[str, object]:
    return {
        "id": bundle.id,
        "name": bundle.manifest.name,
        "version": bundle.manifest.version,
        "signed_by": bundle.key_id,
        "trusted": bundle.trusted,
        "development": bundle.development,
        "demonstration": bundle.manifest.demonstration,
        "target": fit_report(bundle.manifest.target),
    }


def fit_report(name: str) -> dict[str, object]:
    """How this machine fits a bundle's target, for `--json`."""
    fit = check_fit(name, any_machine=True)
    return {"name": name, "verdict": fit.verdict, "reasons": list(fit.reasons), "hint": fit.hint}


def fit_lines(name: str) -> list[str]:
    """How this machine fits a bundle's target, for people; nothing if it does."""
    fit = check_fit(name, any_machine=True)
    if fit.verdict == "yes":
        return []
    here = "NOT FOR THIS MACHINE" if fit.verdict == "refuse" else "not quite for this machine"
    return [f"{here}: {fit}", f"  -> {fit.hint}"]


def _built_for(bundle: Bundle) -> list[str]:
    name = bundle.manifest.target
    profile = targets().get(name)
    return [f"built for {profile.title if profile else name} ({name})", *fit_lines(name)]


def _title(bundle: Bundle) -> str:
    return f"{bundle.manifest.name} {bundle.manifest.version}, id {bundle.id}"


def _signature(bundle: Bundle) -> str:
    if bundle.trusted:
        return f"signed by {bundle.key_id}, which is trusted"
    return f"signed by {bundle.key_id}, which was not checked" if bundle.key_id else "NOT SIGNED"


def _warning(bundle: Bundle) -> list[str]:
    """A line for a bundle that decides about nobody, and one for each model that did not pass its gates."""
    models = bundle.manifest.models
    roles = ", ".join(model.role for model in models if model.provenance.demonstration)
    lines = [f"FOR DEMONSTRATIONS ONLY ({roles}): every decision made with it is marked so"] if roles else []
    allowed = [(model.role, ", ".join(model.provenance.allowances)) for model in models if model.provenance.allowances]
    return lines + [
        f"LET PASS: the conversion of the {role} failed {names}, which was accepted" for role, names in allowed
    ]


def _describe(bundle: Bundle, manifest: Manifest) -> str:
    lines = [
        _title(bundle),
        _signature(bundle),
        *_warning(bundle),
        f"created {manifest.created}, needs facegate {manifest.minimum_runtime} or later",
        *_built_for(bundle),
        f"for: {manifest.intended_use}",
        f"not for: {'; '.join(manifest.prohibited_uses) or 'nothing said'}",
        "",
        *_table(
            ("role", "family", "precision", "input", "size", "licence", "commercial use"),
            [_model_row(model) for model in manifest.models],
        ),
        "",
    ]
    points = [
        (f"{p.fmr:g}", f"{p.threshold:.4f}", f"{p.fnmr:.4f}", f"{p.fnmr_low:.4f}-{p.fnmr_high:.4f}", f"{p.fmr_upper:g}")
        if p.dataset
        else (f"{p.fmr:g}", f"{p.threshold:.4f}", "stated, not measured", "", "")
        for p in manifest.operating_points
    ]
    if points:
        lines += _table(("FMR asked", "threshold", "FNMR", "95 %", "FMR at most (95 %)"), points)
    else:
        lines.append("no operating points: it was never evaluated")
    return "\n".join(lines)


def _model_row(model: ModelInfo) -> tuple[str, ...]:
    height, width = model.input.tensor.shape[1:3]
    commercial = {True: "yes", False: "no", None: "unknown"}[model.provenance.commercial_use]
    size = f"{model.size / 1e6:.2f} MB"
    return (
        model.role,
        model.family,
        model.precision,
        f"{width}x{height} {model.input.color}",
        size,
        model.provenance.licence,
        commercial,
    )


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    ]
