"""Fetches the pinned wheels that device packages are made of, so that the tests of packages need no network.

    python tests/emulated/package_cache.py      (part of `make arm`)

They go into the folder `packages` of the emulated machines; a wheel that is there with its hash is not fetched again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from facegate_convert._package._fetch import fetch_wheel
from facegate_convert._package._pins import load_pins
from facegate_convert.errors import ConvertError, FetchError

sys.path.insert(0, str(Path(__file__).parent))
from machine import Machine

MACHINES, PYTHONS = ("aarch64", "x86_64"), ("3.11",)


def main() -> int:
    """Fetch what is missing; the exit code, 75 if there is no network."""
    folder = Machine().folder
    cache, unavailable = folder / "packages", folder / "packages-unavailable"
    cache.mkdir(parents=True, exist_ok=True)
    unavailable.unlink(missing_ok=True)
    try:
        for machine in MACHINES:
            pins = load_pins()[machine]
            wanted = (pins.engine.wheel, *pins.wheels_for(PYTHONS))
            for pin in wanted:
                fetch_wheel(pin, cache, platforms=pins.platforms)
            print(f"the {len(wanted)} wheels of packages for {machine} are in {cache}", flush=True)
    except ConvertError as error:
        print(f"package_cache: {error}\npackage_cache: {error.hint}", file=sys.stderr)
        if not isinstance(error, FetchError):
            return 5
        unavailable.write_text(f"{error}\n")
        return 75
    return 0


if __name__ == "__main__":
    sys.exit(main())
