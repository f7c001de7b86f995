"""Is the model as fast as its target's profile allows? Measured against its own float32 form on this machine.

A build machine is shared and noisy, and a build that fails by chance teaches people to switch gates off. So both models
run in turns within the same second, the ratio is a median of ratios of neighbouring runs, its interval comes from their
order (distribution-free), and a model is refused only if the whole interval lies above the limit, three times in a row.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from facegate_convert import _measure
from facegate_convert._gates._gate import FAILED, PASSED, SLOWER, UNSURE, Gate, not_run
from facegate_convert._gates._limits import LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from facegate_convert._gates._limits import Limits
    from facegate_edge._targets import Target

_TITLE = "time of one run against the float32 model, in turns on this machine"
_ATTEMPTS = 3
COUNTER = "FACEGATE_COUNT_INSTRUCTIONS"
_COUNTER_SECONDS = 600


class Ratio(NamedTuple):
    """How many times the time of float32 a model takes: the median over pairs of runs and its 95 % interval."""

    median: float
    low: float
    high: float
    rounds: int


def ratio_of(base: Sequence[float], other: Sequence[float]) -> Ratio:
    """The median of other[i] / base[i], with the interval that the sign test gives (no assumption about the noise).

    Of n values the k-th smallest and the k-th largest enclose the median with a confidence of 1 - 2 P(B < k), where
    B is binomial(n, 1/2) (Conover, Practical Nonparametric Statistics, 3.2).
    """
    ratios = sorted(b / a for a, b in zip(base, other, strict=True) if a > 0)
    count = len(ratios)
    below = [0.0]
    for k in range(count):
        below.append(below[-1] + math.comb(count, k) / 2**count)
    k = max((k for k in range(count // 2 + 1) if below[k] <= 0.025), default=0)  # noqa: PLR2004 - half of 5 %
    low, high = (ratios[k - 1], ratios[count - k]) if k else (0.0, math.inf)
    return Ratio(ratios[count // 2], low, high, count)


def limit_for(precision: str, wanted: Target, *, here: bool, limits: Limits = LIMITS) -> tuple[float, str]:
    """(times of float32 that are accepted, why): strict only where a gain is expected and this is such a machine.

    Args:
        precision: of the model.
        wanted: what the model is for.
        here: whether this machine is of that kind.
        limits: the figures.
    """
    if "time" in wanted.gains.get(precision, ()) and here:
        return limits.slower_on_target, f"{precision} is expected to be faster on {wanted.title}, which this machine is"
    if "time" in wanted.gains.get(precision, ()):
        return limits.slower, f"this machine is no {wanted.title}: only a model that was cut in pieces is this slow"
    return limits.slower, f"{precision} buys size, not time, on {wanted.title}: only a model in pieces is this slow"


def speed_gate(
    float_model: bytes,
    model: bytes,
    precision: str,
    wanted: Target,
    *,
    threads: int,
    here: bool,
    limits: Limits = LIMITS,
    first: dict[str, list[float]] | None = None,
    time: Callable[..., dict[str, list[float]]] | None = None,
) -> Gate:
    """Hold a model's time against that of its float32 form.

    Args:
        float_model: the flatbuffer of the float32 form.
        model: the flatbuffer.
        precision: of `model`.
        wanted: the target.
        threads: for each engine.
        here: whether this machine is of the target's kind.
        limits: the figures.
        first: times of both that were measured already, by `_measure.times`.
        time: `_measure.times`, or another for tests.
    """
    limit, reason = limit_for(precision, wanted, here=here, limits=limits)
    measure = time or _measure.times
    ratios = []
    for attempt in range(_ATTEMPTS):
        found = first if first and not attempt else None
        found = found or measure({"float32": float_model, precision: model}, threads=threads, seconds=1.0)
        ratios.append(ratio_of(found["float32"], found[precision]))
        if ratios[-1].low <= limit:
            break
    best = min(ratios, key=lambda ratio: ratio.median)
    status = PASSED if best.median <= limit else UNSURE if best.low <= limit else FAILED
    return Gate(
        "speed",
        _TITLE,
        status,
        measured=f"{best.median:.2f}x ({best.low:.2f} to {best.high:.2f}) the time of float32",
        limit=f"at most {limit:g}x",
        value=best.median,
        threshold=limit,
        evidence=f"{best.rounds} rounds in turns, {threads} thread{'s' if threads != 1 else ''}; {reason}",
        why="" if status == PASSED else "slower than the profile allows" if status == FAILED else "too noisy to tell",
        option=SLOWER,
    )


def instruction_gate(float_model: bytes, model: bytes, precision: str, wanted: Target, limits: Limits = LIMITS) -> Gate:
    """Hold the instructions that a model takes on the target's processor against those of its float32 form.

    They repeat to a thousandth where times do not, but they need an emulator that counts: a program, named by the
    environment variable FACEGATE_COUNT_INSTRUCTIONS, which is called with a target's name and a model's file, and
    prints {"instructions": N} for one run of the model.
    """
    title = "instructions of one run against the float32 model, emulated for the target"
    command = os.environ.get(COUNTER, "")
    if not command:
        why = f"no program that counts instructions under an emulator is named in {COUNTER}"
        return not_run("instructions", title, why)
    program = shutil.which(command)
    if program is None:
        return not_run("instructions", title, f"{COUNTER} names no program that can be run")
    counts = []
    with tempfile.TemporaryDirectory(prefix="facegate-count-") as folder:
        for name, data in (("float32", float_model), (precision, model)):
            path = Path(folder, f"{name}.tflite")
            path.write_bytes(data)
            count = _count(program, wanted.name, path)
            if count is None:
                return not_run("instructions", title, f"the program in {COUNTER} failed for {wanted.title}")
            counts.append(count)
    ratio = counts[1] / counts[0]
    limit = limits.slower_on_target if "time" in wanted.gains.get(precision, ()) else limits.slower
    return Gate(
        "instructions",
        title,
        PASSED if ratio <= limit else FAILED,
        measured=f"{ratio:.3f}x the instructions of float32 ({counts[1]:,} against {counts[0]:,})",
        limit=f"at most {limit:g}x",
        value=ratio,
        threshold=limit,
        evidence=f"{wanted.title}, emulated; a count of instructions is no time",
        why="" if ratio <= limit else "more work than the profile allows",
        option=SLOWER,
    )


def _count(program: str, target: str, model: Path) -> int | None:
    """What the program says; None if it fails, is too slow, or says nothing that makes sense."""
    try:
        done = subprocess.run(  # noqa: S603 - the program that the caller's own environment names
            [program, target, str(model)], capture_output=True, text=True, timeout=_COUNTER_SECONDS, check=True
        )
        said: Any = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    count = said.get("instructions") if isinstance(said, dict) else None
    return count if type(count) is int and count > 0 else None
