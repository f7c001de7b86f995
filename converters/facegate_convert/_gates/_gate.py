"""A gate: one question about a converted model, what was measured to answer it, and what follows."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facegate_convert.errors import (
    DriftError,
    EvidenceError,
    GateError,
    ParityError,
    PartitionError,
    SizeError,
    SpeedError,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

PASSED, FAILED, UNSURE, ALLOWED, NOT_RUN = "passed", "failed", "unsure", "allowed", "not run"
STATUSES = (PASSED, FAILED, UNSURE, ALLOWED, NOT_RUN)

DRIFT, SLOWER, PARTITIONS = "--allow-drift", "--allow-slower", "--allow-partitions"

_ERRORS: dict[str, type[GateError]] = {DRIFT: DriftError, SLOWER: SpeedError, PARTITIONS: PartitionError}

SIZE = "size"

_OF_MACHINES = ("speed", "instructions")  # gates that need no photographs but a clock or an emulator

CONFIDENCE = 0.95  # of the intervals, two-sided; what refuses lies beyond the limit with 97.5 %


@dataclass(frozen=True, slots=True)
class Gate:
    """The outcome of a gate.

    Attributes:
        name: short and stable, e.g. "drift-p50": what the manifest names where a failure was allowed.
        title: what is asked, in words.
        status: "passed"; "failed" (the model is refused); "unsure" (beyond the limit, but so little was measured that
            this can be chance); "allowed" (failed, and the caller takes it); "not run".
        measured, limit: both in words.
        value, threshold: both as numbers in the same unit, None where there is none.
        rate: an error rate's counts and interval as JSON types, None where the figure is no rate.
        evidence: what it was measured on, in words.
        why: for all but "passed", the reason; for "passed", what the figure cannot show, if anything.
        option: the option that lets a failure pass.
    """

    name: str
    title: str
    status: str
    measured: str = ""
    limit: str = ""
    value: float | None = None
    threshold: float | None = None
    rate: dict[str, Any] | None = None
    evidence: str = ""
    why: str = ""
    option: str = DRIFT

    def to_dict(self) -> dict[str, Any]:
        """The outcome as JSON types."""
        return dataclasses.asdict(self)

    def describe(self) -> str:
        """The outcome in a line."""
        said = f"{self.measured}, {self.limit}" if self.measured else ""
        return f"{self.name}: {said}{' - ' if said and self.why else ''}{self.why}"


def not_run(name: str, title: str, why: str) -> Gate:
    """A gate that could not be run, and why."""
    return Gate(name, title, NOT_RUN, why=why, option="")


def rate_gate(
    name: str, title: str, errors: int, trials: int, limit: float, *, what: str, evidence: str, option: str = DRIFT
) -> Gate:
    """A gate on an error rate.

    It fails if the rate lies above the limit and so does the lower end of its exact interval: then it is not chance.
    Above the limit with an interval that reaches below it, it is unsure.

    Args:
        name: see `Gate`.
        title: see `Gate`.
        errors: how many.
        trials: of how many; of none nothing follows, and the gate was not run.
        limit: largest rate that is accepted, 0..1.
        what: what an error is, e.g. "missed".
        evidence: see `Gate`.
        option: see `Gate`.
    """
    if not trials:
        return not_run(name, title, f"there is nothing to count: {evidence}")
    rate = rate_of(errors, trials)
    status, why = PASSED, ""
    if rate["value"] > limit:
        status = FAILED if rate["low"] > limit else UNSURE
        why = (
            f"even the lower end of the {CONFIDENCE:.0%} interval, {rate['low']:.2%}, is above the limit"
            if status == FAILED
            else f"beyond the limit, but with {trials} trials that can be chance (from {rate['low']:.2%})"
        )
    elif rate["high"] > limit:
        why = f"{trials} trials cannot exclude a rate of up to {rate['high']:.2%}"
    return Gate(
        name,
        title,
        status,
        measured=f"{errors} of {trials} {what} ({rate['value']:.2%})",
        limit=f"at most {limit:.2%}",
        value=rate["value"],
        threshold=limit,
        rate=rate,
        evidence=evidence,
        why=why,
        option=option,
    )


def level_gate(
    name: str,
    title: str,
    value: float,
    limit: float,
    *,
    unit: str,
    evidence: str,
    at_least: bool = False,
    option: str = DRIFT,
    why: str = "",
) -> Gate:
    """A gate on a figure that is measured, not counted; a figure that is no number fails."""
    good = value >= limit if at_least else value <= limit
    return Gate(
        name,
        title,
        PASSED if good else FAILED,
        measured=f"{unit} {value:.4g}".strip(),
        limit=f"at {'least' if at_least else 'most'} {limit:.4g}",
        value=value,
        threshold=limit,
        evidence=evidence,
        why="" if good else why,
        option=option,
    )


def size_gate(size: int, budget: int) -> Gate:
    """Hold a model's size against what it may have: no option but a larger budget accepts more."""
    return Gate(
        SIZE,
        "bytes of the model",
        PASSED if size <= budget else FAILED,
        measured=f"{size:,} bytes",
        limit=f"at most {budget:,}",
        value=float(size),
        threshold=float(budget),
        why="" if size <= budget else "no recipe that was tried is as small and decides as the source does",
        option="",
    )


def rate_of(errors: int, trials: int) -> dict[str, Any]:
    """An error rate with its exact interval (Clopper and Pearson 1934), as JSON types."""
    from facegate_convert._metrics import rate  # noqa: PLC0415 - numpy

    return rate(errors, trials, confidence=CONFIDENCE).to_dict()


def paired_gate(
    name: str, title: str, lost: int, gained: int, trials: int, limit: float, *, what: str, evidence: str
) -> Gate:
    """A gate on how many decisions a model gets wrong that its source got right, less those that it mends.

    Both decided on the same photographs, so only the decisions that differ tell them apart: beyond the limit it fails
    if as many losses among them would be a rare chance for an equally good model (exact sign test, which is McNemar's,
    one-sided), and is unsure otherwise.

    Args:
        name: see `Gate`.
        title: see `Gate`.
        lost: decisions that the source got right and the model wrong.
        gained: the other way round.
        trials: all decisions.
        limit: largest net loss that is accepted, 0..1.
        what: what is lost, e.g. "genuine pairs lost".
        evidence: see `Gate`.
    """
    if not trials:
        return not_run(name, title, f"there is nothing to count: {evidence}")
    net = (lost - gained) / trials
    chance = sign_test(lost, gained)
    status, why = PASSED, ""
    if net > limit:
        status = FAILED if chance < (1 - CONFIDENCE) / 2 else UNSURE
        why = f"an equally good model would lose as many with a chance of {chance:.2g}"
    elif rate_of(lost, trials)["high"] > limit:
        why = f"{trials} trials cannot exclude a loss of up to {rate_of(lost, trials)['high']:.2%}"
    return Gate(
        name,
        title,
        status,
        measured=f"{lost} of {trials} {what}, {gained} gained (net {net:+.2%})",
        limit=f"at most {limit:.2%}",
        value=net,
        threshold=limit,
        rate=rate_of(lost, trials),
        evidence=evidence,
        why=why,
    )


def sign_test(lost: int, gained: int) -> float:
    """The chance of at least so many losses among the differences if losses and gains are equally likely."""
    total = lost + gained
    ways: int = sum(math.comb(total, k) for k in range(lost, total + 1))
    return ways / (1 << total)


def settle(gates: Sequence[Gate], allowed: Collection[str], *, strict: bool = False) -> tuple[Gate, ...]:
    """The gates after the caller's word: what fails and is allowed is marked, what is strictly asked for fails.

    Args:
        gates: outcomes.
        allowed: options that the caller gave, e.g. {"--allow-drift"}.
        strict: gates that are unsure, or for which there were no photographs, fail as well.
    """
    settled = []
    for gate in gates:
        found = gate
        open_question = gate.status == UNSURE or (gate.status == NOT_RUN and gate.name not in _OF_MACHINES)
        if strict and open_question:
            found = dataclasses.replace(found, status=FAILED, why=f"{gate.why} (--strict)")
        if found.status == FAILED and found.option in allowed:
            found = dataclasses.replace(found, status=ALLOWED)
        settled.append(found)
    return tuple(settled)


def refusal(gates: Sequence[Gate]) -> str:
    """Why a model with these outcomes is refused, in words; "" if it is not."""
    return "; ".join(gate.describe() for gate in gates if gate.status == FAILED)


def allowances(gates: Sequence[Gate]) -> tuple[str, ...]:
    """The names of gates that failed and were allowed: what the manifest records."""
    return tuple(gate.name for gate in gates if gate.status == ALLOWED)


def refuse(gates: Sequence[Gate], what: str, report: object = None) -> None:
    """Raise the error of gates that failed, if any did.

    Raises:
        GateError: the subclass of the gravest; it names every gate that failed, and the options that accept them.
    """
    failed = [gate for gate in gates if gate.status == FAILED]
    if not failed:
        return
    options = sorted({gate.option for gate in failed if gate.option})
    accept = f"; {' and '.join(options)} accept{'s' if len(options) == 1 else ''} it" if options else ""
    raise _error(failed)(
        f"the {what} is refused: {refusal(gates)}",
        hint=f"{_advice(failed)}{accept}",
        gates=tuple(gate.name for gate in failed),
        report=report,
    )


def _error(failed: Sequence[Gate]) -> type[GateError]:
    if any(gate.name == "parity" for gate in failed):
        return ParityError
    if all(gate.name == SIZE for gate in failed):
        return SizeError
    kinds = {gate.option for gate in failed if gate.value is not None}
    return next((error for option, error in _ERRORS.items() if option in kinds), EvidenceError)


def _advice(failed: Sequence[Gate]) -> str:
    if any(gate.name == "parity" for gate in failed):
        return "this is an error in the converter or a model that amplifies rounding"
    if all(gate.name == SIZE for gate in failed):
        return "allow more bytes, or use a precision that is smaller (--precision int8 or dynamic)"
    kinds = {gate.option for gate in failed}
    if DRIFT in kinds:
        return "calibrate on more photographs like the device's, or use a precision that is closer (--precision auto)"
    if kinds & {SLOWER, PARTITIONS}:
        return "use another precision (--precision auto finds one for the target)"
    return "give what the gate needs, or leave --strict away"
