"""The demonstration with real models and photographs: `make demo MODELS=... FACES=...`.

Every step is what a maker of kiosks does: the build host's work through the `facegate` command line, the device's
through the SDK. Nothing but bundles, a key and the decisions is written, to demo-out/; people, photographs and
templates stay in memory. `demo.py` shows the same, and more, with rendered people.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from kiosk import OUT, answer, describe_point, run, show

import facegate

FMR = 0.001
IMAGES = {".jpg", ".jpeg", ".png"}
ADVICE = """\
Real models and photographs are not part of the project (they have licences of their own); without MODELS and FACES
the demo renders its people and brings its own models.

  MODELS  a folder with a YuNet detector (any file yunet*320*.onnx) and a 112x112 recogniser (mobilefacenet*.onnx),
          in subfolders or not; both are public, see docs/convert.md
  FACES   a folder with people in train/<person>/*.jpg (two photographs each or more), strangers in any other folder,
          pictures without a face in no-face/, and pairs.csv or master.csv (file_x, file_y, Decision) beside photographs
          for the threshold

  make demo MODELS=/path/to/models FACES=/path/to/faces
"""


@dataclass(frozen=True)
class Probe:
    """A photograph, and the outcomes that are right for it: None where nobody can say."""

    path: Path
    kind: str
    right: frozenset[str] | None


def images(folder: Path) -> list[Path]:
    """The photographs of a folder, sorted."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGES) if folder.is_dir() else []


def first(folder: Path, pattern: str) -> Path:
    """The one file that matches, or advice."""
    found = sorted(folder.rglob(pattern))
    if not found:
        raise SystemExit(f"no {pattern} in {folder}\n\n{ADVICE}")
    return found[0]


def sort_faces(faces: Path) -> tuple[dict[str, list[Path]], list[Probe], Path]:
    """People to enroll (first photograph of each), probes with their right answers, and the file of labelled pairs."""
    folders = [images(p) for train in sorted(faces.rglob("train")) for p in sorted(train.iterdir()) if images(p)]
    # The operator's register of who is who never meets a gate: it knows people by a pseudonym.
    people = {f"person-{number}": photos for number, photos in enumerate(folders, 1)}
    pairs = next((p for name in ("pairs.csv", "master.csv") for p in sorted(faces.rglob(name))), None)
    if not people or pairs is None:
        raise SystemExit(f"{faces} holds no people or no labelled pairs\n\n{ADVICE}")
    enrolled = {name: photos[:1] for name, photos in people.items()}
    seen = {digest(photo) for photos in enrolled.values() for photo in photos}
    probes = [
        Probe(photo, "another photograph of an enrolled person", frozenset({f"match {name}"}))
        for name, photos in people.items()
        for photo in photos[1:]
    ]
    stranger = frozenset({"no_match below_threshold", "rejected several_faces", "rejected low_quality"})
    probes += [Probe(photo, "a stranger", stranger) for photo in images(pairs.parent)]
    nobody = frozenset({"rejected no_face"})
    probes += [Probe(photo, "no face in it", nobody) for d in sorted(faces.rglob("no-face")) for photo in images(d)]
    known = {pairs.parent, *(photos[0].parent for photos in people.values()), *faces.rglob("no-face")}
    for folder in sorted({p.parent for p in faces.rglob("*") if p.suffix.lower() in IMAGES} - known):
        if "spoof" not in folder.parts:
            probes += [Probe(photo, "unlabelled", None) for photo in images(folder)]
    return enrolled, [p for p in probes if digest(p.path) not in seen], pairs


def digest(path: Path) -> str:
    """Two files of the same bytes are one photograph."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def build(models: Path, pairs: Path) -> None:
    """Two ONNX files become one signed bundle, with a threshold measured on labelled pairs."""
    for old in ("maker.key", "maker.key.pub", "detector.fgb", "recognizer.fgb", "door.fgb"):
        (OUT / old).unlink(missing_ok=True)
    run("keys", "new", "--output", str(OUT / "maker.key"), "--no-passphrase")
    detector, recognizer = first(models, "yunet_n*320*.onnx"), first(models, "mobilefacenet_dyn*.onnx")
    common = (*("--calibration", str(pairs.parent)), *("--licence", "Apache-2.0"), *("--commercial-use", "yes"))
    # A detector of 0.3 MB stays float32: int8 would save 0.2 MB, and made it no faster where it was measured.
    report(run("convert", str(detector), *common, "--output", str(OUT / "detector.fgb")))
    # The normalisation of this recogniser is outside its graph: nobody can see it there, so we say it.
    report(
        run(
            *("convert", str(recognizer), *common, "--output", str(OUT / "recognizer.fgb")),
            *("--precision", "int8", "--preprocess", "imagenet", "--detector", str(OUT / "detector.fgb")),
        )
    )
    built = run(
        *("bundle", "build", str(OUT / "detector.fgb"), str(OUT / "recognizer.fgb"), "--output", str(OUT / "door.fgb")),
        *("--name", "door", "--version", "1.0.0", "--intended-use", "show what Facegate does"),
        *("--pairs", str(pairs), "--images", str(pairs.parent), "--fmr", str(FMR), "--key", str(OUT / "maker.key")),
    )
    print(f"  signed by {built['signed_by']}")
    describe_point(built["operating_points"][0], FMR)


def report(converted: dict) -> None:
    """What a conversion cost, in a line or two."""
    found = converted["report"]
    worst = min(figures["cosine_p50"] for figures in found["parity"].values())
    print(
        f"  {found['family']} {found['role']} at {found['precision']}: {found['size_source'] / 1e6:.2f} MB -> "
        f"{found['size'] / 1e6:.2f} MB, cosine to the ONNX model {worst:.4f}\n"
        f"  (median of the worst output over {found['inputs']})"
    )


def decide(
    enrolled: dict[str, list[Path]], probes: list[Probe]
) -> tuple[list[tuple[Probe, facegate.Decision]], list[str]]:
    """Enroll and recognise, as a device does: everything in memory. Returns the decisions, also as sent."""
    trust = facegate.TrustStore.load(OUT / "maker.key.pub")
    device = facegate.SigningKey.generate()
    # A kiosk that is shown dozens of strangers in a row would lock itself; here that is the point of the exercise.
    policy = facegate.Policy(fmr=FMR, max_attempts=0, max_trials_per_minute=0)
    consent = facegate.Consent.to_text(
        "Photographs of a public collection, compared in memory.",
        purpose="demonstration",
        legal_basis="demonstration",
        text_version="1",
        given_at=datetime.now(timezone.utc),
        taken_by="examples",
    )
    decisions, sent = [], []
    with facegate.open_bundle(OUT / "door.fgb", trust=trust) as bundle, contextlib.ExitStack() as stack:
        gate, credentials = facegate.Gate.in_memory(bundle, policy, device, device_id="kiosk-1", demonstration=True)
        stack.enter_context(gate)
        enroller = gate.enroller(credentials["enroller"])
        recognizer = gate.recognizer(credentials["recognizer"])
        for name, photos in enrolled.items():
            result = enroller.enroll(name, [facegate.load_image(photo) for photo in photos], consent)
            print(f"  {name}: {f'{result.faces} template' if result.enrolled else result.frames[0]}")
        print()
        for probe in probes:
            signed = recognizer.identify(facegate.load_image(probe.path))
            # What a receiver does: nothing is believed that the device's key has not signed.
            decision = facegate.verify_decision(signed.jws, [device.verify_key])
            print(f"  {decision.sequence:3d}  {answer(decision):26s}  {signed.jws[:20]}...{signed.jws[-20:]}")
            decisions.append((probe, decision))
            sent.append(signed.jws)
    return decisions, sent


def judge(decisions: list[tuple[Probe, facegate.Decision]]) -> tuple[int, int]:
    """Show what was right, by kind of photograph. Returns (right, labelled)."""
    total = labelled = 0
    for kind in dict.fromkeys(probe.kind for probe, _ in decisions):
        rows = [(probe, decision) for probe, decision in decisions if probe.kind == kind]
        counts = Counter(decision.outcome + "".join(f" ({r})" for r in decision.reasons) for _, decision in rows)
        judged = [(probe, answer(decision)) for probe, decision in rows if probe.right is not None]
        wrong = [(probe, given) for probe, given in judged if given not in probe.right]
        total += len(judged) - len(wrong)
        labelled += len(judged)
        verdict = f"{len(judged) - len(wrong)} of {len(judged)} right" if judged else "nobody says what is right"
        print(f"  {kind}: {verdict}; {', '.join(f'{count} {outcome}' for outcome, count in counts.most_common())}")
        for probe, given in wrong:
            print(f"    wrong: {probe.path.name}: {given}")
    return total, labelled


def main() -> int:
    """Run the demo; 0 if every labelled decision was right."""
    models, faces = (Path(os.environ.get(name) or f"../shared/{name.lower()}") for name in ("MODELS", "FACES"))
    for folder in (models, faces):
        if not folder.is_dir():
            raise SystemExit(f"there is no folder {folder}\n\n{ADVICE}")
    OUT.mkdir(mode=0o700, exist_ok=True)
    enrolled, probes, pairs = sort_faces(faces)
    print("== The maker's PC: ONNX models in, a signed bundle out")
    build(models, pairs)
    print("== The device: people are enrolled in memory, with their consent; frames come in, decisions go out")
    started = time.monotonic()
    decisions, sent = decide(enrolled, probes)
    spent = time.monotonic() - started
    (OUT / "decisions.jws").write_text("".join(f"{jws}\n" for jws in sent))
    print(f"\n  {len(sent)} photographs in {spent:.1f} s; all that left the device is in {OUT / 'decisions.jws'}\n")
    right, labelled = judge(decisions)
    print(f"\n{right} of {labelled} labelled decisions are right\n")
    matches = [jws for jws, (_, decision) in zip(sent, decisions, strict=True) if decision.outcome == "match"]
    if matches:
        show(matches[-1])
    return 0 if right == labelled else 1


if __name__ == "__main__":
    sys.exit(main())
