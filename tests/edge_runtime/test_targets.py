"""Device profiles: what is in them, and what becomes of a bundle on another kind of machine."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from facegate_edge import Pipeline, TargetError, UnknownTargetError, _pipeline, _targets, fits, target, targets
from facegate_edge._litert_library import OLDEST, TOO_NEW
from facegate_edge._machine import MachineFacts
from facegate_edge._manifest import PRECISIONS, ROLES
from facegate_edge._targets import Fit, Target, check_fit

PI3 = MachineFacts(
    "aarch64", "aarch64", "Cortex-A53", ("neon",), "Raspberry Pi 3 Model B", ("brcm,bcm2837",), "rpi3", 4, 906
)
PI4 = MachineFacts(
    "aarch64", "aarch64", "Cortex-A72", ("neon",), "Raspberry Pi 4 Model B", ("brcm,bcm2711",), "rpi4", 4, 3793
)
PI5 = replace(
    PI4, cpu="Cortex-A76", features=("neon", "fp16", "dotprod"), board="Raspberry Pi 5 Model B", target="rpi5"
)
NANO = replace(PI4, cpu="Cortex-A57", board="NVIDIA Jetson Nano Developer Kit", target="jetson-nano", memory_mb=3956)
ORIN = replace(PI5, cpu="Cortex-A78AE", board="NVIDIA Jetson Orin Nano", target="jetson-orin", memory_mb=7451, cores=6)
ROCK = replace(PI5, board="Radxa ROCK 5B", compatible=("rockchip,rk3588",), target="")
PI4_32 = replace(PI4, machine="armv7l", features=("neon", "vfpv4"), target="")
PI2 = MachineFacts("armv7l", "armv7l", "Cortex-A7", ("neon", "vfpv4"), "Raspberry Pi 2 Model B", (), "", 4, 922)
OLD_ARM = replace(PI2, cpu="Cortex-A9", features=("neon",))
PC = MachineFacts("x86_64", "x86_64", "Some CPU", ("sse4", "avx", "avx2", "fma", "f16c"), cores=4, memory_mb=16000)
OLD_PC = replace(PC, features=("sse4",))
RISCV = MachineFacts("riscv64", "riscv64")
UNKNOWN = MachineFacts("")

EVERY = ["generic", "generic-aarch64", "generic-armv7", "rpi3", "rpi4", "rpi5", "jetson-nano", "jetson-orin", "x86_64"]
DOCUMENT = Path(__file__).parents[2] / "docs" / "targets.md"
# Fields that describe, follow from others, or say where they come from: they need no source.
DESCRIBED = {"name", "title", "refuses", "notes", "sources", "gains"}


# --- the profiles --------------------------------------------------------------------------------------------------


def test_every_target_that_was_promised_is_there():
    """The names that `--target` takes, the generic one first."""
    assert list(targets()) == EVERY
    assert all(target(name).name == name for name in EVERY)


@pytest.mark.parametrize("name", EVERY)
def test_every_figure_has_its_source(name):
    """Whatever a profile claims says where it comes from, and nothing has a source that claims nothing."""
    profile = target(name)
    claimed = {f.name for f in fields(Target) if getattr(profile, f.name)} - DESCRIBED - {"machine"}
    assert claimed == set(profile.sources)
    assert all(len(source) > 10 for source in profile.sources.values())


@pytest.mark.parametrize("name", EVERY)
def test_a_profile_is_consistent(name):
    """Known roles and precisions, versions that the engine's binding takes, no more threads than cores."""
    profile = target(name)
    assert tuple(profile.precisions) == ROLES
    for order in profile.precisions.values():
        assert set(order) <= set(PRECISIONS)
        assert len(set(order)) == len(order) > 0
    assert set(profile.gains) == set(PRECISIONS)
    assert all(set(gains) <= {"size", "time"} for gains in profile.gains.values())
    assert profile.gains["float32"] == ()
    assert set(profile.refuses) <= {"machine", "features", "memory"}
    assert 1 <= profile.threads <= max(profile.cores, 2)
    versions = dict(profile.engines)
    assert versions
    if "litert" in versions:
        assert versions["litert"] == f">={'.'.join(map(str, OLDEST))},<{'.'.join(map(str, TOO_NEW))}"
    assert bool(profile.boards) == bool(profile.memory_mb) == bool(profile.cores) == bool(profile.core)


def test_no_two_profiles_claim_one_board():
    """A device tree names one profile at most."""
    boards = [board for profile in targets().values() for board in profile.boards]
    assert len(set(boards)) == len(boards)


def test_what_a_processor_cannot_do_is_not_expected_of_it():
    """Float16 arithmetic needs the feature. Where int8 is expected to save time, tests/test_precision.py says."""
    for profile in targets().values():
        assert profile.float16_arithmetic == ("fp16" in profile.features)
        assert "time" in profile.gains["int8"] or "time" not in profile.gains["mixed"]


@pytest.mark.parametrize("name", ["", "RPI4", "rpi6", "generic ", "../x", "x" * 10_000, "\x1b[2J"])
def test_an_unknown_target_is_refused_with_the_names_that_there_are(name):
    """The hint lists the targets; a name is shown short and escaped."""
    with pytest.raises(UnknownTargetError) as caught:
        target(name)
    assert "rpi4" in caught.value.hint
    assert len(str(caught.value)) < 120
    assert str(caught.value).isprintable()


def test_the_table_of_the_documentation_is_that_of_the_profiles():
    """docs/targets.md shows every profile's figures as they are in targets.json."""
    text = DOCUMENT.read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| `")]
    shown = {row[0].strip("`"): row[1:] for row in rows}
    assert list(shown) == EVERY
    for name, profile in targets().items():
        assert shown[name] == [
            profile.title,
            profile.machine or "any",
            profile.core or "-",
            " ".join(profile.features) or "-",
            str(profile.memory_mb or "-"),
            str(profile.cores or "-"),
            str(profile.threads),
            ", ".join(engine for engine, _ in profile.engines),
            " ".join(profile.precisions["recognizer"]),
        ]


def test_profiles_cannot_be_changed():
    """They are shared by everybody who asks."""
    with pytest.raises(TypeError):
        targets()["rpi4"] = None
    with pytest.raises(TypeError):
        target("rpi4").precisions["detector"] = ()


# --- does a machine fit --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "facts", "verdict", "says"),
    [
        # at home
        ("rpi3", PI3, "yes", ""),
        ("rpi4", PI4, "yes", ""),
        ("rpi5", PI5, "yes", ""),
        ("jetson-nano", NANO, "yes", ""),
        ("jetson-orin", ORIN, "yes", ""),
        ("x86_64", PC, "yes", ""),
        ("generic-aarch64", ROCK, "yes", ""),
        ("generic-aarch64", PI3, "yes", ""),
        ("generic-armv7", PI2, "yes", ""),
        ("generic-armv7", PI4_32, "yes", ""),
        # anywhere
        *(("generic", facts, "yes", "") for facts in (PI3, PI5, PI2, PC, RISCV, UNKNOWN)),
        # another board of the same architecture
        ("rpi4", PI5, "warn", "Raspberry Pi 5 Model B"),
        ("rpi4", PI3, "warn", "Raspberry Pi 3 Model B"),
        ("rpi5", PI4, "warn", "lacks fp16 and dotprod"),
        ("rpi5", ROCK, "warn", "Radxa ROCK 5B"),
        ("rpi4", replace(PI4, board="", target=""), "warn", "not known to be one"),
        # in a container, which hides the device tree
        ("rpi4", replace(PI4, board="", compatible=(), target=""), "yes", ""),
        ("jetson-nano", replace(NANO, board="", compatible=(), target=""), "yes", ""),
        ("rpi4", replace(PI3, board="", compatible=(), target=""), "warn", "not known to be one"),
        ("jetson-orin", PI5, "warn", "Raspberry Pi 5"),
        # too little of something
        ("rpi4", replace(PI4, memory_mb=400), "warn", "400"),
        ("rpi3", replace(PI3, board="Raspberry Pi Zero 2 W", memory_mb=416), "warn", "416"),
        ("x86_64", OLD_PC, "warn", "lacks avx2 and fma"),
        ("generic-armv7", OLD_ARM, "refuse", "lacks vfpv4"),
        ("generic-armv7", replace(PI2, features=("vfpv3",)), "refuse", "lacks neon and vfpv4"),
        # in a sandbox that hides /proc: what cannot be seen is no reason
        ("rpi5", MachineFacts("aarch64", "aarch64"), "yes", ""),
        ("generic-armv7", MachineFacts("armv7l", "armv7l"), "yes", ""),
        # another architecture
        ("rpi4", PC, "refuse", "x86_64"),
        ("rpi4", PI2, "refuse", "armv7l"),
        ("rpi4", PI4_32, "refuse", "armv7l"),
        ("x86_64", PI4, "refuse", "aarch64"),
        ("generic-aarch64", PC, "refuse", "x86_64"),
        ("generic-armv7", PI4, "refuse", "aarch64"),
        ("rpi4", RISCV, "refuse", "riscv64"),
        ("rpi4", UNKNOWN, "refuse", "unknown"),
    ],
)
def test_which_machine_fits_what_a_bundle_was_built_for(name, facts, verdict, says):
    """Another architecture is refused, a missing feature where the engine needs it too; anything less is a warning."""
    fit = fits(target(name), facts)
    assert fit.verdict == verdict
    assert says in str(fit)
    assert bool(fit.reasons) == bool(fit.hint) == (verdict != "yes")


@pytest.mark.parametrize(
    ("memory", "verdict"), [(0, "yes"), (1, "warn"), (767, "warn"), (768, "yes"), (906, "yes"), (8000, "yes")]
)
def test_some_of_a_boards_memory_may_be_taken_by_its_firmware(memory, verdict):
    """Three quarters of the nominal memory are enough; unknown memory is no reason."""
    assert fits(target("rpi4"), replace(PI4, memory_mb=memory)).verdict == verdict


@pytest.mark.parametrize(
    ("name", "facts", "hint"),
    [
        ("rpi5", PI4, "--target rpi4"),
        ("rpi4", ROCK, "--target generic-aarch64"),
        ("rpi4", replace(PI4, memory_mb=400), "--target generic-aarch64"),
        ("rpi4", PC, "--target x86_64"),
        ("x86_64", PI2, "--target generic-armv7"),
        ("rpi4", PI4_32, "install the 64-bit system"),
        ("rpi4", RISCV, "--target generic"),
        ("x86_64", OLD_PC, "--target generic"),
        ("generic-armv7", OLD_ARM, "no engine"),
    ],
)
def test_the_hint_names_a_target_that_fits(name, facts, hint):
    """What it says to build for exists, and fits the machine."""
    fit = fits(target(name), facts)
    assert hint in fit.hint
    _, option, named = fit.hint.partition("--target ")
    assert not option or fits(target(named), facts).verdict == "yes"


def test_several_reasons_are_all_told():
    """Board, features and memory in one sentence each."""
    fit = fits(target("rpi5"), replace(PI3, memory_mb=400))
    assert len(fit.reasons) == 3


def test_a_target_of_a_newer_version_is_a_warning():
    """The models are the same everywhere: a profile that this version does not know keeps nobody out."""
    fit = check_fit("rpi9", PI5)
    assert fit.verdict == "warn"
    assert "rpi9" in str(fit)
    assert "update" in fit.hint


def test_a_profile_can_refuse_a_lack_of_memory():
    """What refuses is the profile's to say."""
    strict = replace(target("rpi4"), refuses=("machine", "memory"))
    fit = fits(strict, replace(PI5, memory_mb=300))
    assert fit.verdict == "refuse"
    assert "300" in fit.reasons[0]


def test_a_profile_can_let_other_architectures_pass():
    """Even that is a warning where a profile does not refuse it."""
    assert fits(replace(target("rpi4"), refuses=()), PC).verdict == "warn"


# --- where it is asked ---------------------------------------------------------------------------------------------


def test_a_refusal_is_an_error_with_a_hint_unless_it_is_asked_for():
    """TargetError, which exits with 5; who builds and measures bundles asks for the verdict instead."""
    with pytest.raises(TargetError, match="Raspberry Pi 4") as caught:
        check_fit("rpi4", PC)
    assert caught.value.hint
    assert caught.value.exit_code == 5
    assert check_fit("rpi4", PC, any_machine=True).verdict == "refuse"
    assert check_fit("rpi4", PI4) == Fit("yes")


class Stop(Exception):  # noqa: N818 - no error
    """The pipeline got as far as choosing an engine."""


@pytest.fixture
def models(monkeypatch):
    """A function: target -> what a pipeline opens; it stops where it would choose an engine."""

    def choose(_):
        raise Stop

    monkeypatch.setattr(_pipeline, "choose_engine", choose)
    return lambda name: SimpleNamespace(manifest=SimpleNamespace(target=name))


def test_a_pipeline_refuses_before_it_loads_an_engine(models, monkeypatch):
    """A bundle of another architecture is refused at once, and run all the same if that is asked for."""
    monkeypatch.setattr(_targets, "this_machine", lambda: PC)
    with pytest.raises(TargetError):
        Pipeline(models("rpi4"))
    with pytest.raises(Stop):
        Pipeline(models("rpi4"), any_machine=True)


@pytest.mark.parametrize(("name", "facts"), [("generic", RISCV), ("rpi4", PI4), ("rpi5", PI4), ("rpi9", PI4)])
def test_a_pipeline_takes_what_fits_or_is_only_a_warning(models, monkeypatch, name, facts):
    """Generic everywhere, a warning is no refusal."""
    monkeypatch.setattr(_targets, "this_machine", lambda: facts)
    with pytest.raises(Stop):
        Pipeline(models(name))


def test_a_generic_bundle_asks_nothing_of_the_machine(models, monkeypatch):
    """It is opened without looking at the machine at all."""

    def look():
        raise AssertionError("nobody asked")

    monkeypatch.setattr(_targets, "this_machine", look)
    with pytest.raises(Stop):
        Pipeline(models("generic"))
