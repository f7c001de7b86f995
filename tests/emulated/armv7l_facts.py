"""Says what a 32-bit machine does differently, as JSON: sizes, times after 2038, memory that is locked and sealed."""

from __future__ import annotations

import ctypes
import json
import sys
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np

from facegate import Consent, Gate, Policy, SigningKey, open_reference_bundle
from facegate_edge import Frame, Gallery, Template, doctor
from facegate_edge._engine import choose_engine
from facegate_edge._machine import this_machine

DEVICE = SigningKey.from_seed(bytes(range(32)))
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Clock:
    """Time as a test sets it."""

    def __init__(self, moment: datetime) -> None:
        self.moment, self.seconds = moment, 1000.0

    def now(self) -> datetime:
        """The time of day."""
        return self.moment

    def monotonic(self) -> float:
        """Seconds."""
        return self.seconds

    def boot(self) -> str:
        """Always the same."""
        return "boot"


def error_of(act: Any) -> str:
    """The type of what an action raises."""
    try:
        act()
    except Exception as error:  # noqa: BLE001 - the type is what is reported
        return type(error).__name__
    return ""


def gate_of(moment: datetime) -> dict[str, Any]:
    """A gate made at a moment, and what it says of its people's consents and of its credentials."""
    clock = Clock(moment)
    with open_reference_bundle() as bundle:
        gate, credentials = Gate.in_memory(
            bundle, Policy(threshold=0.5), DEVICE, device_id="terminal-1", clock=clock, demonstration=True
        )
        with gate:
            made = [info.made.isoformat() for info in gate.administrator(credentials["administrator"]).credentials()]
            terminal = gate.recognizer(credentials["recognizer"])
            black = Frame(np.zeros((120, 160, 3), np.uint8))
            first = terminal.identify(black).decision
            clock.seconds += 60
            clock.moment = EPOCH  # what Python says of a time that the C library has no room for
            after = gate.status().clock
            second = terminal.identify(black).decision
    return {
        "made": made[0],
        "time": first.time,
        "marks": list(first.marks),
        "later": [after, second.time, list(second.marks)],
    }


def main() -> None:
    """Print it."""
    bundle = open_reference_bundle()
    gallery = Gallery(128, "space")
    gallery.add(Template(np.ones(128, np.int8), "space"))
    facts = this_machine()
    told = Consent.to_text(
        "This person agrees.",
        purpose="demonstration",
        legal_basis="demonstration",
        text_version="1",
        taken_by="tests",
        given_at=datetime(2037, 1, 1, tzinfo=timezone.utc),
        expires_at=datetime(2100, 1, 1, tzinfo=timezone.utc),
    )
    report = {
        "bits": sys.maxsize.bit_length() + 1,
        "long": ctypes.sizeof(ctypes.c_long),
        "from_2038": error_of(lambda: datetime.fromtimestamp(2**31, timezone.utc)),
        "machine": facts.machine,
        "features": list(facts.features),
        "cpu": facts.cpu,
        "doctor": {check.name: [check.status, check.value] for check in doctor().checks},
        "locked": gallery.locked,
        "bundle": len(bundle.file_bytes()),
        "consent": str(told.expires_at),
        "late": gate_of(datetime(2040, 2, 29, 12, tzinfo=timezone.utc)),
        "early": gate_of(datetime(2038, 1, 19, tzinfo=timezone.utc) - timedelta(days=1)),
        "litert": error_of(lambda: choose_engine("litert")),
    }
    bundle.close()
    print(json.dumps(report))


if __name__ == "__main__":
    main()
