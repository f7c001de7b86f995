"""A gate's arithmetic: when it passes, when it fails, when it cannot tell, and what the caller's word changes."""

from __future__ import annotations

import pytest

from facegate_convert._gates._gate import (
    Gate,
    allowances,
    level_gate,
    not_run,
    paired_gate,
    rate_gate,
    refusal,
    refuse,
    settle,
    sign_test,
)
from facegate_convert.errors import (
    DriftError,
    EvidenceError,
    GateError,
    ParityError,
    PartitionError,
    SpeedError,
)


def rate(errors, trials, limit=0.03):
    """A gate on a rate."""
    return rate_gate("recall", "faces missed", errors, trials, limit, what="missed", evidence="photographs")


def paired(lost, gained, trials, limit=0.005):
    """A gate on decisions that differ."""
    return paired_gate("fnmr", "pairs lost", lost, gained, trials, limit, what="lost", evidence="pairs")


@pytest.mark.parametrize(
    ("errors", "trials", "status"),
    [
        (0, 0, "not run"),
        (0, 10, "passed"),
        (3, 100, "passed"),
        (4, 100, "unsure"),
        (1, 10, "unsure"),
        (7, 100, "unsure"),
        (8, 100, "failed"),
        (5, 10, "failed"),
        (10, 10, "failed"),
        (40, 1000, "unsure"),
        (45, 1000, "failed"),
    ],
)
def test_a_rate_fails_only_where_its_interval_does(errors, trials, status):
    """Above the limit it fails if the lower end of the exact 95 % interval is above it, too; else it is unsure."""
    gate = rate(errors, trials)
    assert gate.status == status
    assert bool(gate.why) == (status != "passed" or trials < 1000)


def test_a_rate_that_passes_says_what_so_few_trials_cannot_exclude():
    """No error in ten faces is no proof: the upper end of the interval is named."""
    assert "30.85%" in rate(0, 10).why
    assert rate(0, 10).rate["high"] == pytest.approx(0.3085, abs=1e-4)
    assert rate(1, 1000).why == ""


@pytest.mark.parametrize(
    ("lost", "gained", "chance"),
    [(0, 0, 1.0), (1, 0, 0.5), (5, 0, 1 / 32), (6, 0, 1 / 64), (5, 5, 638 / 1024), (9, 1, 11 / 1024), (0, 4, 1.0)],
)
def test_sign_test_table(lost, gained, chance):
    """The chance of so many losses among the differences, by hand: sums of binomial coefficients over 2^n."""
    assert sign_test(lost, gained) == pytest.approx(chance, rel=1e-12)


@pytest.mark.parametrize(
    ("lost", "gained", "trials", "status"),
    [
        (0, 0, 0, "not run"),
        (0, 0, 40, "passed"),
        (0, 3, 40, "passed"),
        (2, 2, 40, "passed"),
        (1, 0, 40, "unsure"),
        (5, 0, 40, "unsure"),
        (6, 0, 40, "failed"),
        (30, 20, 400, "unsure"),
        (40, 20, 400, "failed"),
        (5, 0, 1000, "passed"),
    ],
)
def test_decisions_on_the_same_pairs_are_compared_in_pairs(lost, gained, trials, status):
    """A net loss beyond the limit fails if an equally good model would hardly lose as many, else it is unsure."""
    assert paired(lost, gained, trials).status == status


@pytest.mark.parametrize(
    ("value", "at_least", "status"),
    [
        (0.98, True, "passed"),
        (0.97, True, "failed"),
        (0.97, False, "passed"),
        (0.99, False, "failed"),
        (float("nan"), True, "failed"),
        (float("nan"), False, "failed"),
    ],
)
def test_a_level_is_within_its_limit_or_not(value, at_least, status):
    """A figure that is no number is within no limit."""
    gate = level_gate("drift", "drift", value, 0.98, unit="cosine", evidence="faces", at_least=at_least, why="far")
    assert (gate.status, gate.why) == (status, "" if status == "passed" else "far")


def gates():
    """One of each outcome."""
    return [
        rate(0, 1000),
        rate(50, 100),
        rate(1, 10),
        not_run("truth", "ground truth", "no ground truth (--truth)"),
        not_run("instructions", "instructions", "no emulator"),
        Gate("speed", "time", "failed", value=3.0, threshold=2.5, option="--allow-slower"),
    ]


def test_what_is_allowed_is_marked_and_no_more():
    """--allow-slower lets the speed pass and nothing else; what was let pass has a name for the manifest."""
    settled = settle(gates(), {"--allow-slower"})
    assert [g.status for g in settled] == ["passed", "failed", "unsure", "not run", "not run", "allowed"]
    assert allowances(settled) == ("speed",)
    assert "recall" in refusal(settled)
    assert "speed" not in refusal(settled)


def test_strictly_what_is_not_known_fails():
    """--strict refuses what is unsure and what had no photographs to run on; an emulator is another matter."""
    settled = settle(gates(), {"--allow-slower", "--allow-drift"}, strict=True)
    assert [g.status for g in settled] == ["passed", "allowed", "allowed", "failed", "not run", "allowed"]
    with pytest.raises(EvidenceError, match="truth: no ground truth") as caught:
        refuse(settled, "int8 model")
    assert "--strict" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "option", "error"),
    [
        ("parity", "--allow-drift", ParityError),
        ("drift-p1", "--allow-drift", DriftError),
        ("speed", "--allow-slower", SpeedError),
        ("partitions", "--allow-partitions", PartitionError),
    ],
)
def test_a_refusal_is_an_error_of_its_own_with_the_option_that_accepts_it(name, option, error):
    """Exit code 1, the gate's name, the reason, and the way around."""
    failed = Gate(name, "a title", "failed", measured="2", limit="at most 1", value=2.0, why="it is", option=option)
    with pytest.raises(error, match=f"{name}: 2, at most 1 - it is") as caught:
        refuse([failed], "int8 model", report="the report")
    assert isinstance(caught.value, GateError)
    assert (caught.value.exit_code, caught.value.gates, caught.value.report) == (1, (name,), "the report")
    assert f"{option} accepts it" in caught.value.hint


def test_nothing_failed_nothing_is_raised():
    """Unsure and not run are said, not refused."""
    refuse(settle(gates()[:1] + gates()[2:4], ()), "model")
