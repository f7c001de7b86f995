"""A kiosk's day without a real face: `make demo`.

Everything is here: three reference models, which the project trained on faces it rendered, become a signed int8 bundle
through the `facegate` command line; a gate is made; three people who do not exist are enrolled with their consent; a
simulated camera plays a day before the terminal; every decision is printed as it would leave the device. A page beside
them, demo-out/index.html, shows what the camera saw, which never leaves a device.

The models recognize rendered faces and nobody else, so every decision is marked "demonstration".
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from kiosk import OUT, answer, describe_point, run, show
from page import write_page

import facegate
from facegate.simulation import Cue, Script, SimulatedCamera, Visitor, default_script, write_photographs
from facegate_edge import Timings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facegate.simulation import Shot

FMR = 0.001
PEOPLE = {3_000_013: "visitor-1", 3_000_008: "visitor-2", 3_000_026: "visitor-3"}
STRANGER = 3_000_910
# Other people than those of the scene, and none that a model was trained on: what the bundle is calibrated and
# measured with.
CALIBRATION, PAIRS = range(1_100_000, 1_100_032), range(1_110_000, 1_110_030)
TRIES = 3  # pictures that the terminal takes of a visit, as long as none can be used
REFUSED = {"no_match", "review", "low_quality", "no_face", "liveness_spoof"}
INSISTS, LOCKED = "an unknown person, again and again", "an enrolled person, while the terminal is locked"


@dataclass(frozen=True)
class Trial:
    """One decision, with what the camera saw and what would be right.

    `right` is None for a picture that could not be used and was taken again: the visit is judged by its last decision.
    """

    shot: Shot
    signed: facegate.SignedDecision
    decision: facegate.Decision
    expected: str
    right: bool | None


class SceneClock:
    """The scene's time, so that lock-outs and times of decisions follow what is played and not how fast."""

    def __init__(self) -> None:
        self._began = datetime.now(timezone.utc)
        self.seconds = 0.0

    def now(self) -> datetime:
        """The time of day in the scene."""
        return self._began + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        """Seconds since the scene began."""
        return self.seconds

    def boot(self) -> str:
        """What the seconds are counted from: the scene's beginning, not this machine's."""
        return "scene"


def build(models: Path) -> dict:
    """Three ONNX files become one signed bundle, with a threshold measured on rendered pairs."""
    with tempfile.TemporaryDirectory(prefix="facegate-demo-") as folder, ProcessPoolExecutor(2) as pool:
        calibration, pairs = Path(folder, "calibration"), Path(folder, "pairs")
        half = len(PAIRS) // 2
        work = [
            pool.submit(write_photographs, calibration, CALIBRATION, each=1),
            *(pool.submit(write_photographs, pairs, part, each=3) for part in (PAIRS[:half], PAIRS[half:])),
        ]
        print(f"  {sum(done.result() for done in work)} rendered photographs to calibrate and to measure on")
        run("keys", "new", "--output", str(OUT / "maker.key"), "--no-passphrase")
        built = run(
            *("bundle", "build", *(str(models / f"{role}.onnx") for role in ("detector", "recognizer", "liveness"))),
            *("--output", str(OUT / "kiosk.fgb"), "--name", "kiosk", "--version", "1.0.0"),
            *("--intended-use", "show what Facegate does, with rendered faces", "--commercial-use", "yes"),
            *("--precision", "int8", "--calibration", str(calibration), "--images", str(pairs), "--fmr", str(FMR)),
            *("--key", str(OUT / "maker.key")),
        )
    for model in built["models"]:
        print(f"  {model['role']}: {model['family']}, {model['precision']}, {model['size'] / 1e6:.2f} MB")
    describe_point(built["operating_points"][0], FMR)
    return built


def make_gate() -> Path:
    """The device's own folder: its key, the bundle, whom it trusts, its rules."""
    gate = OUT / "gate"
    made = run(
        *("init", str(gate), "--bundle", str(OUT / "kiosk.fgb"), "--trust", str(OUT / "maker.key.pub")),
        # The rules that were measured for these models when the reference bundle was built, liveness among them.
        *("--policy", str(files("facegate") / "reference.policy.json"), "--fmr", str(FMR), "--device-id", "kiosk-1"),
        # What it is for, as its operator declares it; every decision refers to that.
        *("--declaration", str(Path(__file__).with_name("declaration.json"))),
    )
    print(f"  {made['device_id']} signs with the key {made['device_key']}; it is for: {made['purpose']}")
    print(f"  for demonstrations only: {'yes, every decision says so' if made['demonstration'] else 'no'}\n")
    return gate


def credential(gate: Path, role: str) -> facegate.Credential:
    """A role's credential, which `facegate init` wrote beside the gate's folder."""
    return facegate.Credential.load(gate.with_name("gate-credentials") / f"{role}.credential")


def enroll(enroller: facegate.Enroller, clock: SceneClock) -> None:
    """Three people stand before the camera one after the other, and agree to be recognized."""
    consent = facegate.Consent.to_text(
        "This kiosk recognizes me for the length of the demonstration and forgets me then.",
        purpose="demonstration",
        legal_basis="demonstration",
        text_version="1",
        given_at=clock.now(),
        taken_by="kiosk",
    )
    script = Script(tuple(Cue((Visitor(seed),), approach=0, look=1.5, leave=0) for seed in PEOPLE), background=5)
    with SimulatedCamera(script, fps=2, pixel_format=facegate.PixelFormat.NV12, seed=1) as camera:
        for number, shots in itertools.groupby(camera, key=lambda shot: shot.cue_number):
            name = list(PEOPLE.values())[number]
            result = enroller.enroll(name, [shot.frame for shot in shots], consent)
            why = ", ".join(reason or "used" for reason in result.frames)
            print(f"  {name}: {result.faces} templates (frames: {why})")
            if not result.enrolled:
                raise SystemExit(f"{name} could not be enrolled")


def scene() -> Script:
    """An ordinary day and a bad one, and somebody who does not give up until the terminal locks."""
    first = next(iter(PEOPLE))
    insisting = [Cue((Visitor(STRANGER + 4),), note=INSISTS)] * 5
    locked = [Cue((Visitor(first),), note=LOCKED), Cue(approach=30, note="nobody")]
    after = [Cue((Visitor(first),), note="an enrolled person")]
    script = default_script(tuple(PEOPLE), stranger=STRANGER)
    return Script((*script.cues, *insisting, *locked, *after), script.background)


def expected(cue: Cue) -> tuple[str, set[str]]:
    """What is right for a visit: in words, and as outcomes, reasons and names."""
    if cue.note == LOCKED:
        return "locked out, after five failures", {"locked_out"}
    if not cue.people:
        return "no face", {"no_face"}
    if len(cue.people) > 1:
        return "refused, one at a time", {"several_faces"}
    visitor, name = cue.people[0], PEOPLE.get(cue.people[0].identity)
    poor = cue.light != "even" or bool({"mask", "sunglasses"} & set(visitor.wears))
    if visitor.attack:
        return "no match (an attack)", REFUSED
    if name is None:
        return ("no match", REFUSED) if poor else ("no match", {"no_match"})
    return (f"{name}, or nobody", REFUSED | {name}) if poor else (name, {name})


def is_right(decision: facegate.Decision, allowed: set[str]) -> bool:
    """Whether a decision is one of those that are right."""
    said = {"match": {decision.subject}, "rejected": set(decision.reasons)}.get(decision.outcome, {decision.outcome})
    return said <= allowed


def play(
    recognizer: facegate.Recognizer, key: facegate.VerifyKey, clock: SceneClock, timings: Timings
) -> Iterator[Trial]:
    """The day before the terminal. A sensor wakes it when somebody stands there: it takes a picture, and decides."""
    with SimulatedCamera(scene(), fps=5, pixel_format=facegate.PixelFormat.NV12, seed=2) as camera:
        for _, shots in itertools.groupby(camera, key=lambda shot: shot.cue_number):
            waiting = [shot for shot in shots if shot.phase in ("look", "empty")]
            pictures = waiting[-1:] if waiting[0].phase == "empty" else waiting[2 : TRIES + 2]
            for shot in pictures:
                clock.seconds = shot.time_s
                frame = shot.frame  # rendered here: a real camera's work is not the gate's
                timings.begin()
                signed = recognizer.identify(frame)
                timings.end()
                # What a receiver does: nothing is believed that the device's key has not signed.
                decision = facegate.verify_decision(signed.jws, [key])
                words, allowed = expected(shot.cue)
                unusable = bool({"low_quality", "no_face"} & set(decision.reasons))
                again = unusable and shot is not pictures[-1]
                yield Trial(shot, signed, decision, words, None if again else is_right(decision, allowed))
                if not again:
                    break


def main() -> int:
    """Run the demo; 0 if every decision was right."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=Path, help="folder of detector.onnx, recognizer.onnx and liveness.onnx")
    models = parser.parse_args().models
    if models is None:
        spec = find_spec("facegate_convert")
        if spec is None or spec.origin is None:
            raise SystemExit("the demo converts models: pip install 'facegate[convert]'")
        models = Path(spec.origin).parent / "reference"
    started = time.monotonic()
    if OUT.exists():
        shutil.rmtree(OUT)
    OUT.mkdir(mode=0o700)
    print("== The maker's PC: ONNX models in, a signed bundle out")
    built = build(models)
    print("== The device: a gate of its own")
    folder = make_gate()
    print("== People are enrolled with their consent and sealed; frames come in, decisions go out")
    clock, timings = SceneClock(), Timings()
    key = facegate.VerifyKey.load(folder / "device.key.pub")
    with facegate.open_gate(folder, clock=clock, timings=timings) as gate:
        # Each role has a credential of its own: the terminal's cannot enroll, and the desk's cannot decide.
        desk = gate.enroller(credential(folder, "enroller"))
        terminal = gate.recognizer(credential(folder, "recognizer"))
        enroll(desk, clock)
        print(f"\n  {'#':>3}  {'scene':>7}  {'what comes':48}  {'the decision':34}  right")
        trials = []
        for trial in play(terminal, key, clock, timings):
            verdict = {None: "taken again", True: "yes", False: f"NO: {trial.expected}"}[trial.right]
            seconds = f"{trial.shot.time_s:.1f} s"
            said = f"{trial.shot.cue.note:48}  {answer(trial.decision):34}"
            print(f"  {trial.decision.sequence:3d}  {seconds:>7}  {said}  {verdict}", flush=True)
            trials.append(trial)
        # As the visitors were told: their keys are destroyed, and what was sealed with them opens no more.
        for person in desk.people():
            desk.remove(person.reference)
        print(f"\n  the demonstration is over: {gate.status().people} people are known to the gate")
    (OUT / "decisions.jws").write_text("".join(f"{trial.signed.jws}\n" for trial in trials))
    labelled = [trial.right for trial in trials if trial.right is not None]
    right = sum(labelled)
    print(f"\n{right} of {len(labelled)} labelled decisions are right, in {time.monotonic() - started:.1f} s in all\n")
    show(next(t.signed.jws for t in reversed(trials) if t.decision.outcome == "match"))
    write_page(OUT / "index.html", trials, timings, built, FMR)
    print(f"\nall that left the device: {OUT / 'decisions.jws'}; with what the camera saw, on this machine only:")
    print(f"{OUT / 'index.html'}")
    return 0 if right == len(labelled) else 1


if __name__ == "__main__":
    sys.exit(main())
