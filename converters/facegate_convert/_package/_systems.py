"""For which targets a package can be made, for which Pythons, and whether a bundle fits such a device."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facegate_convert.errors import PackageTargetError
from facegate_edge._machine import MachineFacts
from facegate_edge._targets import Fit, Target, check_fit, target

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["System", "check_bundle_target", "choose_pythons", "packageable", "system"]


@dataclass(frozen=True, slots=True)
class System:
    """What runs on a device of a target.

    Attributes:
        target: the profile.
        pythons: of the systems that its package is for by default, e.g. ("3.11", "3.13").
    """

    target: Target
    pythons: tuple[str, ...]

    @property
    def machine(self) -> str:
        """The architecture, as wheels call it."""
        return self.target.machine


# Pythons of the systems that docs/targets.md names: Raspberry Pi OS 12 and 13; JetPack 6; tflite-runtime has no wheel
# for a Python after 3.11.
_DEBIAN = ("3.11", "3.13")
_PYTHONS = {
    "generic-aarch64": _DEBIAN,
    "generic-armv7": ("3.11",),
    "rpi3": _DEBIAN,
    "rpi4": _DEBIAN,
    "rpi5": _DEBIAN,
    "jetson-orin": ("3.10",),
    "x86_64": _DEBIAN,
}
_IMPOSSIBLE = {
    "generic": (
        "a package holds machine code, and `generic` is any machine",
        "name the device with --target; a bundle built for `generic` goes into a package for any of them",
    ),
    "jetson-nano": (
        "its last system, JetPack 4.6 (Ubuntu 18.04), has glibc 2.27 and Python 3.6, and no engine runs on that",
        "in a container of Debian 12 or Ubuntu 22.04 on it, a package for `generic-aarch64` runs: docs/targets.md",
    ),
}


def packageable() -> tuple[str, ...]:
    """The targets that a package can be made for."""
    return tuple(_PYTHONS)


def system(name: str) -> System:
    """What runs on a device of this target.

    Raises:
        UnknownTargetError: there is no such target.
        PackageTargetError: no package can be made for it.
    """
    profile = target(name)
    pythons = _PYTHONS.get(profile.name)
    if pythons is None:
        reason, hint = _IMPOSSIBLE.get(
            profile.name, ("nothing is known of its system", f"the targets are {', '.join(_PYTHONS)}")
        )
        raise PackageTargetError(f"no package can be made for {profile.name}: {reason}", hint=hint)
    return System(profile, pythons)


def choose_pythons(chosen: System, asked: Iterable[str], pinned: Sequence[str]) -> tuple[str, ...]:
    """The Pythons that a package is for, in order.

    Args:
        chosen: the device.
        asked: by the user; those of the device's systems if there are none.
        pinned: those that the dependencies are pinned for on this architecture.

    Raises:
        PackageTargetError: one of them has no pinned wheels.
    """
    wanted = sorted(set(asked) or chosen.pythons, key=_numbers)
    for python in wanted:
        if python not in pinned:
            raise PackageTargetError(
                f"no wheels are pinned for Python {python} on {chosen.machine}",
                hint=f"Pythons there: {', '.join(pinned)}; docs/targets.md says which system has which",
            )
    return tuple(wanted)


def check_bundle_target(name: str, chosen: System) -> Fit:
    """Whether a bundle fits the devices that a package is for, as such a device will judge it.

    Args:
        name: the target in the bundle's manifest.
        chosen: the device.

    Raises:
        PackageTargetError: such a device refuses the bundle.
    """
    profile = chosen.target
    facts = MachineFacts(
        machine=profile.machine,
        kernel_machine=profile.machine,
        cpu=profile.core,
        features=profile.features,
        board=profile.title if profile.boards else "",
        compatible=profile.boards,
        target=profile.name if profile.boards else "",
        cores=profile.cores,
        memory_mb=profile.memory_mb,
    )
    fit = check_fit(name, facts, any_machine=True)
    if fit.verdict == "refuse":
        raise PackageTargetError(
            f"the bundle was built for {name}, and a {profile.title} refuses it: {fit}",
            hint=f"build it with --target {profile.name}, or name the target that it was built for",
        )
    return fit


def _numbers(python: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", python))
