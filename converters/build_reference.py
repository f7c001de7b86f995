# ruff: noqa: T201 - a script of the project's own, not part of a package
"""Build the reference bundle that comes with Facegate: `make reference`, after the reference models were trained.

The three ONNX models of `facegate_convert/reference` become one int8 bundle, calibrated on rendered people; its
operating points are measured on others, the liveness limits of its policy on others again. All of them are validation
identities (seeds from 1,000,000), never trained on and not of the test set. The bundle is signed with a key that exists
for this run only: nobody can sign a second bundle that devices would take for it.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import facegate
from facegate._policy_json import dump_policy
from facegate._reference import BUNDLE, KEY, POLICY
from facegate.simulation import Identity, draw_portrait, render, write_photographs
from facegate.simulation._attack import ATTACKS
from facegate_edge import Pipeline

MODELS = Path(__file__).parent / "facegate_convert" / "reference"
ROLES = ("detector", "recognizer", "liveness")
CALIBRATION, PAIRS, LIVENESS = range(1_000_000, 1_000_160), range(1_001_000, 1_001_100), range(1_002_000, 1_002_300)
MAX_BYTES = 1_500_000
FMR = 1e-3
SHARE = 0.025  # of live faces that may be taken for attacks, and of attacks of the worst species for live ones


def main() -> int:
    """Build it; 1 if the result is not what the package may carry."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of the three ONNX files")
    parser.add_argument("--output", type=Path, default=BUNDLE.parent, help="folder of the result")
    parser.add_argument("--version", default="1.0.0", help="of the bundle")
    given = parser.parse_args()
    bundle, public, policy = (given.output / path.name for path in (BUNDLE, KEY, POLICY))
    with tempfile.TemporaryDirectory(prefix="facegate-reference-") as temporary:
        made = Path(temporary)
        key = facegate.SigningKey.generate()
        key.save(made / "key")
        print("rendering photographs ...", flush=True)
        write_photographs(made / "calibration", CALIBRATION, each=1)
        write_photographs(made / "pairs", PAIRS, each=6)
        build(made, given.models, given.version)
        rules = measure_policy(made / "reference.fgb", key)
        data = (made / "reference.fgb").read_bytes()
    if len(data) > MAX_BYTES:
        print(f"the bundle has {len(data)} bytes, more than the {MAX_BYTES} that the package may carry")
        return 1
    bundle.write_bytes(data)
    public.write_bytes(key.verify_key.to_pem())
    policy.write_text(dump_policy(rules))
    print(f"wrote {bundle} ({len(data):,} bytes), {public.name}, {policy.name}; the key {key.key_id} is gone")
    return 0


def build(made: Path, models: Path, version: str) -> None:
    """Convert, measure and sign, by the command that everybody uses."""
    command = [
        *("bundle", "build", "-o", str(made / "reference.fgb"), "--name", "reference", "--version", version),
        *("--intended-use", "demonstrations and tests with rendered faces; it recognizes no real person"),
        *("--precision", "int8", "--calibration", str(made / "calibration"), "--commercial-use", "yes"),
        *("--images", str(made / "pairs"), "--key", str(made / "key")),
        *(str(models / f"{role}.onnx") for role in ROLES),
    ]
    subprocess.run([sys.executable, "-m", "facegate", *command], check=True)  # noqa: S603 - our own command


def measure_policy(path: Path, key: facegate.SigningKey) -> facegate.Policy:
    """The rules for this bundle: the FMR that its targets are stated at, limits of its liveness model, and of pitch.

    With t_live the probability that all but `SHARE` of the live faces reach, and t_attack the one that all but `SHARE`
    of the attacks of the worst species stay below: if they leave a gap, the limits divide it in three; if they overlap,
    what lies between them is for a person to review. Pitch is measured against the mean face of real people, whose
    noses are shorter: the limit is what all but `SHARE` of the rendered faces stay within, in steps of 5 degrees.
    """
    with (
        facegate.open_bundle(path, trust=facegate.TrustStore([key.verify_key])) as bundle,
        Pipeline(bundle) as pipeline,
    ):
        if not bundle.manifest.demonstration:
            raise SystemExit("the models do not say that they are for demonstrations only: train and export them again")
        measured = {attack: measure(pipeline, attack) for attack in ("", *ATTACKS)}
    found = {attack: values[:, 0] for attack, values in measured.items()}
    tilted = float(np.nanquantile(np.abs(measured[""][:, 1]), 1 - SHARE))
    quality = facegate.QualityGate(max_pitch=max(facegate.QualityGate().max_pitch, 5.0 * math.ceil(tilted / 5)))
    live = float(np.quantile(found[""], SHARE))
    attack = max(float(np.quantile(found[name], 1 - SHARE)) for name in ATTACKS)
    third = (live - attack) / 3
    low, high = (attack + third, live - third) if third > 0 else (live, attack)
    low, high = round(max(low, 0.001), 3), round(min(high, 0.999), 3)
    print(f"liveness: attack up to {low}, live from {high}")
    for name, values in found.items():
        spoof, real, review = ((values <= low), (values >= high), (values > low) & (values < high))
        print(f"  {name or 'live':10} {spoof.mean():7.2%} attack {review.mean():7.2%} review {real.mean():7.2%} live")
    print(f"measured pitch of live faces: {1 - SHARE:.0%} within {tilted:.1f} degrees, limit {quality.max_pitch:g}")
    return facegate.Policy(fmr=FMR, quality=quality, require_liveness=True, live_at=high, spoof_at=low)


def measure(pipeline: Pipeline, attack: str) -> np.ndarray:
    """Liveness (0..1) and measured pitch (degrees) of the largest face of each picture that shows one: (N, 2)."""
    found = []
    for seed in LIVENESS:
        rng = np.random.default_rng([0x11FE, seed])
        frame = render(draw_portrait(Identity.draw(seed), rng, size=224, attack=attack)).frame
        faces = pipeline.detect(frame)
        if faces:
            largest = max(faces, key=lambda face: float((face.box[2] - face.box[0]) * (face.box[3] - face.box[1])))
            found.append((pipeline.liveness(frame, largest).live, pipeline.measure(frame, largest).pitch))
    print(f"  {attack or 'live'}: {len(found)} of {len(LIVENESS)} faces found", flush=True)
    return np.array(found)


if __name__ == "__main__":
    sys.exit(main())
