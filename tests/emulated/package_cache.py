"""Fetches everything pinned that device packages are made of, so that the tests of packages need no network.

    python tests/emulated/package_cache.py      (part of `make arm`)

It goes where `facegate package` looks for it; what is there with its hash is not fetched again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from facegate_convert._package._debs import fetch_debs
from facegate_convert._package._fetch import default_cache, fetch_wheel
from facegate_convert._package._pins import load_pins
from facegate_convert.errors import ConvertError, FetchError, PinError

sys.path.insert(0, str(Path(__file__).parent))
from machine import Machine

PYTHONS = ("3.11", "3.13")  # of Debian 12 and 13


def main() -> int:
    """Fetch what is missing; the exit code, 75 if there is no network."""
    cache, unavailable = default_cache(), Machine().folder / "packages-unavailable"
    unavailable.parent.mkdir(parents=True, exist_ok=True)
    unavailable.unlink(missing_ok=True)
    try:
        for machine, pins in load_pins().items():
            for pin in (pins.engine.wheel, *pins.wheels_for(PYTHONS)):
                fetch_wheel(pin, cache, platforms=pins.platforms)
            if pins.debs:
                fetch_debs(pins.debs, cache)
            print(f"what packages for {machine} are made of is in {cache}", flush=True)
    except ConvertError as error:
        print(f"package_cache: {error}\npackage_cache: {error.hint}", file=sys.stderr)
        # Debian's archive forgets old versions. The pins are to be renewed then; only tests of packages wait for that.
        if not isinstance(error, FetchError | PinError):
            return 5
        unavailable.write_text(f"{error}\n")
        return 75
    return 0


if __name__ == "__main__":
    sys.exit(main())
