"""A gate recognizes the same people over and over and prints how much memory the process took at most, in KiB.

python recognize.py plan.json frames.npz bundle.fgb bundle.pub policy.json
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from end_to_end import peak

from facegate import Consent, Gate, SigningKey
from facegate._policy_json import load_policy
from facegate_edge import Frame, PixelFormat, TrustStore, open_bundle

ROUNDS = 5


def main() -> None:
    """Enroll one person, recognize."""
    plan_path, frames_path, bundle_path, key_path, policy_path = map(Path, sys.argv[1:])
    plan = json.loads(plan_path.read_text())
    with np.load(frames_path) as stored:
        frames = [
            (step["do"], Frame(stored[step["frame"]], PixelFormat[step["format"]], step["rotation"]))
            for step in plan[:7]
        ]
    consent = Consent.to_text(
        "This person agrees to be compared.",
        purpose="demonstration",
        legal_basis="demonstration",
        text_version="1",
        given_at=datetime.now(timezone.utc),
        taken_by="tests",
    )
    with open_bundle(bundle_path, trust=TrustStore.load(key_path)) as bundle:
        gate, credentials = Gate.in_memory(
            bundle, load_policy(policy_path), SigningKey.generate(), device_id="terminal-1", demonstration=True
        )
        with gate:
            enroller, recognizer = gate.enroller(credentials["enroller"]), gate.recognizer(credentials["recognizer"])
            enrolled = enroller.enroll("person-0", [frame for do, frame in frames if do == "enroll"][:2], consent)
            outcomes = [
                recognizer.identify(frame).decision.outcome
                for _ in range(ROUNDS)
                for do, frame in frames
                if do != "enroll"
            ]
    print(json.dumps({"peak_kib": peak(), "enrolled": enrolled.added, "matches": outcomes.count("match")}))


if __name__ == "__main__":
    main()
