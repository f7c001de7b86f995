"""The units: systemd reads them, and they give away nothing that their service does not need."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import facegate_convert
from facegate._gate_folder import BUNDLE, DECLARATION, GATE, POLICY, PUBLIC, TRUST

from .packages import Recipe, here, public

UNITS = Path(facegate_convert.__file__).parent / "_package/units"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
TIMERS = sorted(path.name for path in UNITS.glob("*.timer"))
# What each service may be exposed to at most, as `systemd-analyze security` of systemd 252 counts.
EXPOSURE = {"facegate-terminal.service": 0.5, "facegate-delivery.service": 1.3, "facegate-sweep.service": 0.4}


def unit(name: str) -> dict[str, list[str]]:
    """The lines of a unit's sections, by their names."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A root with systemd's units, ours, and the programs that they start."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not here")
    shutil.copytree("/usr/lib/systemd/system", tmp_path / "usr/lib/systemd/system", symlinks=True)
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    for name in (*SERVICES, *TIMERS):
        shutil.copy(UNITS / name, tmp_path / "etc/systemd/system")
    (tmp_path / "opt/facegate/current/bin").mkdir(parents=True)
    for name in ("facegate", "facegate-terminal", "facegate-sweep"):
        program = tmp_path / "opt/facegate/current/bin" / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    return tmp_path


def test_systemd_understands_the_units(system: Path) -> None:
    """Without a word: no misspelled name, no missing program."""
    done = subprocess.run(  # noqa: S603
        ["systemd-analyze", "verify", f"--root={system}", *SERVICES, *TIMERS],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "facegate" in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_exposed_to_little(system: Path, name: str) -> None:
    """The figure in docs/device.md, which a line that gets lost would raise."""
    done = subprocess.run(  # noqa: S603
        ["systemd-analyze", "security", "--offline=true", f"--root={system}", "--no-pager", name],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    if found is None:
        pytest.skip("this systemd-analyze does not look at units offline")
    assert float(found[1]) <= EXPOSURE[name]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_confined(name: str) -> None:
    """What none of them may be without, whatever a tool counts."""
    lines = unit(name)
    for key, value in {
        "User": "facegate",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "DevicePolicy": "closed",
        "UMask": "0077",
        "LimitCORE": "0",
        "MemorySwapMax": "0",
        "MemoryDenyWriteExecute": "yes",
        "PrivateUsers": "yes",  # what keeps services of one user from each other's memory and /proc/PID/root
        "ReadWritePaths": "-/var/lib/facegate/gate",
    }.items():
        assert lines.get(key) == [value], key
    assert not [value for value in lines["ExecStart"] if not value.startswith("/opt/facegate/current/bin/")]


def test_the_recognizer_has_no_network_and_the_delivery_no_devices_and_no_keys() -> None:
    """Who sees faces cannot send, who sends sees none, and nobody reads all the credentials."""
    terminal, delivery, sweep = (unit(f"facegate-{name}.service") for name in ("terminal", "delivery", "sweep"))
    for closed in (terminal, sweep):
        assert closed["PrivateNetwork"] == ["yes"]
        assert closed["RestrictAddressFamilies"] == ["AF_UNIX"]
    assert {value.partition(" ")[0] for value in terminal["DeviceAllow"]} == {
        *("char-video4linux", "char-media", "char-dma_heap", "char-gpiochip"),
    }
    for without in (delivery, sweep):
        assert without["PrivateDevices"] == ["yes"]
        assert "DeviceAllow" not in without
    hidden = " ".join(delivery["InaccessiblePaths"])
    for path in ("gate/seal.key", "gate/device.key", "/etc/facegate/credentials"):
        assert path in hidden
    assert "LoadCredential" not in delivery
    assert [value.partition(":")[0] for value in terminal["LoadCredential"]] == ["recognizer.credential"]


def test_the_recognizer_reaches_no_daemon_that_has_a_network() -> None:
    """A socket in /run is a file, which PrivateNetwork does not take away: avahi announces, resolved asks."""
    for name in ("terminal", "sweep"):
        assert unit(f"facegate-{name}.service")["TemporaryFileSystem"] == ["/run:ro"]
    # Its credentials are put there by systemd 252; an older one (JetPack 6 has 249) may need to be told.
    assert unit("facegate-sweep.service")["BindReadOnlyPaths"] == ["-/run/credentials/%n"]
    terminal = unit("facegate-terminal.service")["BindReadOnlyPaths"]
    assert terminal == ["/run/systemd/notify -/run/udev -/run/credentials/%n"]


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_changes_what_its_gate_goes_by(name: str) -> None:
    """Models, whom they are believed from, the threshold, the purpose: not by a taken-over recognizer, nor its sender.

    The gate's folder is a mount of its own (ReadWritePaths), or it could be renamed and another put in its place.
    """
    lines = unit(name)
    kept = {path.removeprefix("-/var/lib/facegate/gate/") for line in lines["ReadOnlyPaths"] for path in line.split()}
    assert kept == {BUNDLE, TRUST, POLICY, DECLARATION, GATE, PUBLIC}


def test_the_delivery_writes_nothing_but_into_the_gates_folder() -> None:
    """Its state is not the service's whole one, where credentials and backups may lie about."""
    assert "StateDirectory" not in unit("facegate-delivery.service")
    for name in ("terminal", "sweep"):
        assert unit(f"facegate-{name}.service")["StateDirectoryMode"] == ["0700"]


def test_templates_do_not_leave_the_memory_and_bundles_are_sealed() -> None:
    """The gallery may be locked (100,000 templates: 51 MB); memfd_create, which seals bundles, is not filtered out."""
    lines = unit("facegate-terminal.service")
    assert lines["LimitMEMLOCK"] == ["64M"]
    taken = [value for value in lines["SystemCallFilter"] if value.startswith("~")]
    assert not [value for value in taken if "@ipc" in value or "@memlock" in value]


def test_the_running_systemd_is_told_of_new_units_and_timers_begin_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when no service runs: the next one to start is the new version's. An image's systemd is not this one."""
    here("show", "none")
    import facegate_installer._system as module  # noqa: PLC0415 - on the path from here on
    from facegate_installer._layout import Layout  # noqa: PLC0415

    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(module, "_systemctl", lambda *arguments: not asked.append(arguments))
    timer = b"[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n"
    root, key = tmp_path / "root", public(tmp_path)
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").write_text(f"facegate:x:{os.getuid()}:{os.getgid()}::/:/bin/false\n")
    for version, live in (("1", False), ("2", True), ("3", True)):
        more = {f"units/facegate-{version}.timer": ("unit", timer)} if version < "3" else {}
        package = Recipe(version=version, more=more).write(tmp_path / "door.pyz")
        asked.clear()
        monkeypatch.setattr(Layout, "live", property(lambda _, live=live: live))
        here("install", package, "--root", root, "--trust", key, check=0)
        assert (("daemon-reload",) in asked) is live
        assert (("start", f"facegate-{version}.timer") in asked) is (version == "2")
