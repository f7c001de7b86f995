"""`facegate wipe`: decommission a gate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facegate.cli._progress import Bar
from facegate.cli._session import dry_run_option, is_scripted

if TYPE_CHECKING:
    from facegate._wipe import WipePlan
    from facegate_edge._output import Output

_TOLD = 10  # of the files that no gate makes


@click.command(short_help="Destroy a gate: its keys first, then everything.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--confirm", "named", metavar="DEVICE-ID", help="The gate's device id: it is not asked for then.")
@dry_run_option
@click.pass_obj
def wipe(output: Output, folder: Path, named: str | None, dry_run: bool) -> None:
    """Destroy the gate DIR: the sealing key, the device's key, everybody's data, the folder. It cannot be undone.

    Whoever may write to the folder may do this; no credential is needed, so that a broken gate can be wiped as well.
    Backups and credentials elsewhere are not touched.
    """
    from facegate._wipe import plan_wipe, wipe_gate  # noqa: PLC0415 - help comes without numpy

    plan = plan_wipe(folder)
    data = {
        "folder": str(folder),
        "device_id": plan.device_id,
        "key": plan.key,
        "key_destroyed": plan.key_destroyed,
        "files": [str(path) for path in plan.files],
        "foreign": [str(path) for path in plan.foreign],
        "dry_run": dry_run,
    }
    elsewhere = [] if plan.key_destroyed else [f"the sealing key is kept in {plan.key}: destroy it there"]
    if dry_run:
        marked = [f"{path}  (no gate makes this)" if path in plan.foreign else str(path) for path in plan.files]
        lines = [f"would destroy {plan.device_id}, {plan.size / 1e6:.1f} MB:", *marked, *elsewhere]
        output.emit(data, "\n".join(lines))
        return
    if named is None:
        named = _asked(output, plan)
    if named != plan.device_id:
        raise click.UsageError(f"the gate in {folder} is another one: nothing was destroyed")
    with Bar(output, "wiping") as bar:
        wipe_gate(plan, bar)
    output.emit(data, "\n".join([f"destroyed {plan.device_id}: {folder} is gone", *elsewhere]))


def _asked(output: Output, plan: WipePlan) -> str:
    if is_scripted(output):
        raise click.UsageError("say which gate is to be destroyed with --confirm DEVICE-ID")
    output.progress(f"This destroys the gate {plan.folder} with everybody in it. It cannot be undone.")
    if plan.foreign:
        told = [*map(str, plan.foreign[:_TOLD]), *(["..."] if len(plan.foreign) > _TOLD else [])]
        output.progress("Also in the folder, made by no gate, and destroyed with it: " + ", ".join(told))
    return str(click.prompt("Its device id, to go on", err=True)).strip()
