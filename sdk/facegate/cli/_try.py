"""`facegate try`: enroll from photographs in memory, decide about others, show what would leave a device."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import defaultdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facegate._consent import Consent
from facegate._decision import is_reference
from facegate._gate import Gate
from facegate._policy import Policy
from facegate.cli._trust import open_trusted, trust_options
from facegate_edge._image import load_image
from facegate_edge._keys import SigningKey
from facegate_edge._targets import check_fit
from facegate_edge.errors import FrameError

if TYPE_CHECKING:
    from facegate._decision import SignedDecision
    from facegate._enroller import Enroller
    from facegate._enrollment import EnrollResult
    from facegate._recognizer import Recognizer
    from facegate_edge._output import Output

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
_TEXT = "facegate try: photographs compared in memory, nothing kept"


@click.command("try", short_help="Enroll from photographs in memory and decide about others.")
@click.option("--bundle", required=True, type=click.Path(path_type=Path), help="The bundle to run.")
@trust_options
@click.option(
    "--enroll",
    "people",
    multiple=True,
    required=True,
    metavar="NAME=PATH",
    help="Enroll NAME from a photograph, or from those of a folder. Repeat for more photographs and people.",
)
@click.option("--fmr", type=float, help="The false match rate to keep; picks the bundle's threshold.")
@click.option("--threshold", type=float, help="A similarity to use in place of the bundle's threshold.")
@click.option("--verify", "claimed", metavar="NAME", help="Verify NAME (1:1) instead of identifying among all.")
@click.argument("probes", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.pass_obj
def try_(
    output: Output,
    bundle: Path,
    trust: Path | None,
    development: bool,
    people: tuple[str, ...],
    fmr: float | None,
    threshold: float | None,
    claimed: str | None,
    probes: tuple[Path, ...],
) -> None:
    """Enroll people from photographs, in memory, and decide about the PROBES: photographs or folders of them.

    Shows what would leave a device: the outcome, the reasons, on a match the subject, with --json the signed decision.
    No similarity is shown, because none ever leaves. Decisions are marked as a demonstration and signed by a key that
    exists for this run only. Nobody is locked out here, however many probes fail and however fast they come.
    """
    from facegate_edge._pipeline import Pipeline  # noqa: PLC0415 - help must not wait

    wanted = _people(people)
    policy = Policy(threshold=threshold, max_attempts=0, max_trials_per_minute=0)
    if fmr is not None:
        policy = dataclasses.replace(policy, fmr=fmr)
    device = SigningKey.generate()
    with contextlib.ExitStack() as stack:
        opened = stack.enter_context(open_trusted(bundle, trust, development=development))
        # Where bundles are built they are tried, whatever they are built for: nothing is decided about anybody.
        pipeline = Pipeline(opened, any_machine=True)
        stack.callback(pipeline.close)
        fit = check_fit(opened.manifest.target, any_machine=True)
        if fit.verdict != "yes":
            output.progress(f"the bundle was built for {opened.manifest.target}: {fit}")
        gate, credentials = Gate.in_memory(
            opened, policy, device, device_id="try", demonstration=True, pipeline=pipeline
        )
        stack.enter_context(gate)
        enroller = gate.enroller(credentials["enroller"])
        recognizer = gate.recognizer(credentials["recognizer"])
        if opened.manifest.demonstration:
            output.progress("the bundle's models are for demonstrations only: a gate marks every decision it makes so")
        point = policy.operating_point(opened.manifest)
        if point is not None and not point.dataset:
            output.progress(f"the threshold for an FMR of {point.fmr:g} is stated in the bundle, not measured")
        enrolled = [_enroll(output, enroller, name, files) for name, files in wanted.items()]
        decisions = [(file, _decide(recognizer, claimed, file)) for probe in probes for file in _photographs(probe)]
    output.emit(
        {
            "bundle": opened.id,
            "policy": policy.id,
            "device_key": device.verify_key.to_pem().decode("ascii"),
            "enrolled": [
                {"subject": r.reference, "templates": r.faces, "frames": r.frames, "duplicate_of": r.duplicate_of}
                for r in enrolled
            ],
            "decisions": [
                {"file": str(file), "decision": signed.decision.to_dict(), "jws": signed.jws}
                for file, signed in decisions
            ],
        },
        lambda: "\n".join(_line(file, signed) for file, signed in decisions),
    )


def _people(given: tuple[str, ...]) -> dict[str, list[Path]]:
    """The photographs of each person, as the command line names them."""
    people: dict[str, list[Path]] = defaultdict(list)
    for entry in given:
        name, separator, path = entry.partition("=")
        if not separator or not path or not is_reference(name):
            raise click.UsageError(f"--enroll {entry!r} is not NAME=PATH; a name has letters, digits, dots and dashes")
        people[name] += _photographs(Path(path))
    return people


def _photographs(path: Path) -> list[Path]:
    """The file, or the photographs of the folder in the order of their names."""
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES and file.is_file())
    if not files:
        raise FrameError(f"{path} holds no photograph", hint=f"known are {', '.join(sorted(_SUFFIXES))}")
    return files


def _enroll(output: Output, enroller: Enroller, name: str, files: list[Path]) -> EnrollResult:
    consent = Consent.to_text(
        _TEXT,
        purpose="demonstration",
        legal_basis="demonstration",
        text_version="1",
        given_at=datetime.now(timezone.utc),
        taken_by="operator",
    )
    result = enroller.enroll(name, [load_image(file) for file in files], consent)
    for file, reason in zip(files, result.frames, strict=True):
        if reason is not None:
            output.progress(f"{file}: not used to enroll {name}: {reason}")
    if result.duplicate_of is not None:
        output.progress(f"{name} is not enrolled: the same face is enrolled as {result.duplicate_of}")
    elif not result.enrolled:
        output.progress(f"{name} is not enrolled: no photograph could be used")
    else:
        output.progress(f"enrolled {name} with {result.added} of {len(files)} photographs")
    return result


def _decide(recognizer: Recognizer, claimed: str | None, file: Path) -> SignedDecision:
    frame = load_image(file)
    return recognizer.identify(frame) if claimed is None else recognizer.verify(claimed, frame)


def _line(file: Path, signed: SignedDecision) -> str:
    decision = signed.decision
    return f"{file}: {decision.outcome} {decision.subject or ', '.join(decision.reasons)}"
