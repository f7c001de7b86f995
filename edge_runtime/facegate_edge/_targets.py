"""Device profiles: the kinds of machine that a bundle can be built for, and whether this machine is of that kind.

The profiles are data, `targets.json`, with the source of each figure; docs/targets.md shows them. What is known of this
machine comes from `_machine`. Neither loads anything heavy: `facegate doctor` and opening a gate ask both.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from facegate_edge._machine import MachineFacts, this_machine
from facegate_edge.errors import TargetError, UnknownTargetError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GENERIC", "Fit", "Target", "check_fit", "fits", "target", "targets"]

GENERIC = "generic"
_DATA = Path(__file__).with_name("targets.json")
# Part of a board's memory is its firmware's and its GPU's: what Linux sees of "1 GB" can be 900 MB, of an Orin's "8 GB"
# 7.4 GB. Less than this share of what the profile says is another board.
_VISIBLE_MEMORY = 0.75

Verdict = Literal["yes", "warn", "refuse"]


@dataclass(frozen=True, slots=True)
class Target:
    """A kind of machine that a bundle can be built for.

    Attributes:
        name: what `--target` and a manifest call it.
        title: for people.
        machine: the architecture of the processes there: "x86_64", "aarch64", "armv7l"; "" for any.
        core: the processor's cores, e.g. "Cortex-A72"; "" where they are not all alike.
        features: what its processor has of neon, fp16, dotprod, avx2, ...: see `MachineFacts.features`.
        boards: what its device tree is `compatible` with; empty if it is no particular board.
        memory_mb: of the smallest board of the kind, in MiB; 0 if unknown.
        cores: how many; 0 if unknown.
        threads: how many a model should use there.
        system: the operating system that it runs.
        engines: the engines that run there, the better one first, each with the versions that do.
        precisions: for each role the precisions to try, the best first.
        gains: for each precision what it is expected to buy there against float32: "size", "time", or both.
        refuses: of "machine", "features", "memory": what a machine must not lack. Lacking the rest is a warning.
        notes: what else to know.
        sources: where each of these comes from, by field.
    """

    name: str
    title: str
    machine: str
    core: str
    features: tuple[str, ...]
    boards: tuple[str, ...]
    memory_mb: int
    cores: int
    threads: int
    system: str
    engines: tuple[tuple[str, str], ...]
    precisions: Mapping[str, tuple[str, ...]]
    gains: Mapping[str, tuple[str, ...]]
    refuses: tuple[str, ...]
    notes: tuple[str, ...]
    sources: Mapping[str, str]

    @property
    def float16_arithmetic(self) -> bool:
        """Whether the cores can calculate in float16, not only store it."""
        return "fp16" in self.features


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a machine is of the kind that a bundle was built for.

    Attributes:
        verdict: "yes"; "warn", it runs, but not as it was measured; "refuse".
        reasons: one sentence each, those that refuse first; empty if the verdict is "yes".
        hint: what to do about it, "" if there is nothing to do.
    """

    verdict: Verdict
    reasons: tuple[str, ...] = ()
    hint: str = ""

    def __str__(self) -> str:
        return "; ".join(self.reasons)


@functools.cache
def targets() -> Mapping[str, Target]:
    """All profiles by name, in the order of targets.json; "generic" first."""
    document = json.loads(_DATA.read_text(encoding="utf-8"))
    return MappingProxyType({name: _target(name, fields) for name, fields in document["targets"].items()})


def target(name: str) -> Target:
    """The profile of a name.

    Raises:
        UnknownTargetError: there is none; the hint lists them.
    """
    found = targets().get(name)
    if found is None:
        raise UnknownTargetError(
            f"there is no target {name[:64]!r}", hint=f"the targets are {', '.join(targets())}; see docs/targets.md"
        )
    return found


def fits(wanted: Target, facts: MachineFacts | None = None) -> Fit:
    """Whether a machine is of the kind that a profile describes.

    Args:
        wanted: the profile.
        facts: the machine; None looks at this one.
    """
    if not wanted.machine:
        return Fit("yes")
    facts = this_machine() if facts is None else facts
    differences = _differences(wanted, facts)
    if not differences:
        return Fit("yes")
    refusing = [kind for kind in differences if kind in wanted.refuses]
    # Those that refuse first.
    reasons = tuple(differences[kind] for kind in (*refusing, *(k for k in differences if k not in refusing)))
    return Fit("refuse" if refusing else "warn", reasons, _hint(wanted, facts, refusing))


def check_fit(name: str, facts: MachineFacts | None = None, *, any_machine: bool = False) -> Fit:
    """Whether a bundle that was built for the target of this name runs on a machine.

    A target that this version does not know is a warning: profiles come with new versions, and the models themselves
    are the same everywhere.

    Args:
        name: a manifest's `target`.
        facts: the machine; None looks at this one.
        any_machine: give a verdict of "refuse" instead of raising it.

    Raises:
        TargetError: it does not.
    """
    wanted = targets().get(name)
    if wanted is None:
        return Fit(
            "warn",
            (f"the bundle was built for {name!r}, which this version of facegate does not know",),
            "update facegate, or build the bundle again with --target",
        )
    fit = fits(wanted, facts)
    if fit.verdict == "refuse" and not any_machine:
        raise TargetError(f"the bundle was built for {wanted.title}: {fit}", hint=fit.hint)
    return fit


def _differences(wanted: Target, facts: MachineFacts) -> dict[str, str]:
    """What of the profile this machine does not have: a sentence for each kind of difference.

    What cannot be seen is no difference: containers hide the device tree, a service's sandbox all of /proc but its own.
    """
    if wanted.machine != facts.machine:
        return {"machine": f"this system is {facts.machine or 'unknown'}, not {wanted.machine}"}
    found = {}
    missing = [feature for feature in wanted.features if feature not in facts.features]
    if missing and facts.features:
        found["features"] = f"the processor lacks {' and '.join(missing)}"
    if facts.memory_mb and facts.memory_mb < wanted.memory_mb * _VISIBLE_MEMORY:
        found["memory"] = f"it was built for {wanted.memory_mb} MB of memory, and there are {facts.memory_mb}"
    hidden = not facts.compatible and not facts.board and facts.cpu in ("", wanted.core)
    if wanted.boards and facts.target != wanted.name and not hidden:
        here = facts.board or "not known to be one"
        found["board"] = f"its figures are those of a {wanted.title}, and this is {here}"
    return found


def _hint(wanted: Target, facts: MachineFacts, refusing: list[str]) -> str:
    """What to build for instead: the profile of this board, else the least particular one that fits."""
    if "features" in refusing:
        return "no engine runs on this processor"
    own = [facts.target, *(name for name, profile in targets().items() if not profile.boards and profile.machine)]
    fitting = (name for name in own if name in targets() and not _differences(targets()[name], facts))
    build = f"build a bundle for this machine: --target {next(fitting, GENERIC)}"
    if "machine" in refusing and facts.machine == "x86_64":
        return f"copy it to its device; `facegate try` and `bench --any-machine` run it here all the same. Or {build}"
    if refusing and facts.kernel_machine == wanted.machine:
        return f"the kernel is {wanted.machine}, this Python is not: install the 64-bit system, or {build}"
    return build


def _target(name: str, fields: dict[str, Any]) -> Target:
    def table(key: str) -> Mapping[str, tuple[str, ...]]:
        return MappingProxyType({k: tuple(v) for k, v in fields[key].items()})

    return Target(
        name=name,
        title=fields["title"],
        machine=fields["machine"],
        core=fields["core"],
        features=tuple(fields["features"]),
        boards=tuple(fields["boards"]),
        memory_mb=fields["memory_mb"],
        cores=fields["cores"],
        threads=fields["threads"],
        system=fields["system"],
        engines=tuple((engine, versions) for engine, versions in fields["engines"].items()),
        precisions=table("precisions"),
        gains=table("gains"),
        refuses=tuple(fields["refuses"]),
        notes=tuple(fields["notes"]),
        sources=MappingProxyType(fields["sources"]),
    )
