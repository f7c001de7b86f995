"""What both demonstrations share: the command line as a person uses it, and decisions as a receiver reads them."""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import facegate

OUT = Path("demo-out")


def run(*arguments: str) -> dict:
    """Run a facegate command as a person would, show it, and give back what it reports."""
    print(f"$ facegate {shlex.join(arguments)}", flush=True)
    done = subprocess.run(  # noqa: S603 - our own command with our own arguments
        [sys.executable, "-m", "facegate", *arguments, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # the engine's greetings; what goes wrong is in the JSON
        text=True,
        check=False,
    )
    found = json.loads(done.stdout)
    if "error" in found:
        raise SystemExit(f"{found['error']['message']}\n{found['error']['hint']}")
    return found


def answer(decision: facegate.Decision) -> str:
    """A decision in a few words: the outcome, and the person or the reasons."""
    return f"{decision.outcome} {decision.subject or ', '.join(decision.reasons)}"


def payload(jws: str) -> dict:
    """What is in a signed decision, unchecked: for showing it."""
    part = jws.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def show(jws: str) -> None:
    """Print a decision as it leaves the device, and all that is in it."""
    print(f"One decision, as it leaves the device (JWS, EdDSA):\n\n{jws}\n\nand all that is in it:\n")
    print(json.dumps(payload(jws), indent=2))


def describe_point(point: dict, fmr: float) -> None:
    """Print what is known about a threshold, and how little that may prove."""
    print(f"  threshold {point['threshold']:.3f}: the lowest that keeps an FMR of {fmr:g} on labelled photographs;")
    print(f"  {point['impostor']} pairs of two people show an FMR below {point['fmr_upper']:.2%} (95 %),")
    print(f"  {point['genuine']} pairs of one person an FNMR of {point['fnmr']:.1%}\n")
