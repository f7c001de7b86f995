"""`facegate bench --submit-file` and `bench-compare`: what a measurement holds, what it does not, what is refused."""

from __future__ import annotations

import copy
import json
import os
import platform
import re
import socket
import stat
from pathlib import Path

import pytest

from facegate import _measurement
from facegate._measurement import make_document, sanity
from facegate._measurement_rules import MAX_BYTES, check_document, read_measurement
from facegate._reference import open_reference_bundle
from facegate.cli import main
from facegate.errors import (
    EmulatedMeasurementError,
    MeasurementContradictionError,
    MeasurementError,
    MeasurementVersionError,
    MeasurementWriteError,
)
from facegate_edge._conditions import Conditions, Frequency

QUIET = Conditions(0.1, 3000, 51.0, (Frequency("performance", 600_000, 1_800_000, 1_800_000),), False, 0)


def entry(ms):
    """A distribution around a time."""
    return {"n": 200, "min_ms": ms * 0.9, "p50_ms": ms, "p90_ms": ms * 1.1, "p99_ms": ms * 1.3}


def a_run(threads, factor=1.0):
    """The figures of one number of threads."""
    stages = {"preprocess": 1.0, "detect": 10.0, "decode": 0.5, "embed": 20.0, "template": 0.5}
    return {
        "threads": threads,
        "frames": 200,
        "warm_up": {"frames": 10, "first_ms": 50.0},
        "stages": {name: entry(ms * factor) for name, ms in stages.items()},
        "inference": entry(30.0 * factor),
        "not_inference": entry(2.0 * factor),
        "total": entry(32.0 * factor),
    }


@pytest.fixture
def pi(tmp_path):
    """A root with a Raspberry Pi's files, and things that are nobody's business."""
    files = {
        "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
        "proc/device-tree/compatible": "raspberrypi,4-model-b\0brcm,bcm2711\0",
        "proc/device-tree/serial-number": "10000000abcdef01\0",
        "proc/cpuinfo": "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n\nSerial\t\t: 10000000abcdef01\n",
        "proc/thread-self/exe": "",
        "etc/os-release": 'ID=debian\nVERSION_ID="12"\n',
        "etc/hostname": "annas-front-door\n",
        "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
        "sys/class/net/wlan0/address": "dc:a6:32:01:02:03\n",
    }
    for name, text in files.items():
        file = tmp_path / "root" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "root"


@pytest.fixture
def document(pi):
    """A measurement of the reference bundle that could have been made on that Raspberry Pi."""
    with open_reference_bundle() as bundle:
        return make_document(
            pi, bundle, "litert", {"width": 640, "height": 480, "faces": 1}, [a_run(1), a_run(2, 0.6)], QUIET, QUIET,
            kernels="neon", rss_peak_mb=96,
        )  # fmt: skip


def changed(document, path, value):
    """A copy with one value changed; None of a name that ends in "-" takes it away."""
    made = copy.deepcopy(document)
    *outer, last = path.split(".")
    place = made
    for name in outer:
        place = place[int(name)] if name.isdigit() else place[name]
    if last.endswith("-"):
        del place[last[:-1]]
    else:
        place[int(last) if last.isdigit() else last] = value
    return made


def believed(document):
    """The document with a sanity section that follows from it again."""
    return {**document, "sanity": sanity(document)}


def test_a_measurement_says_what_the_machine_is(document):
    """The board by its device tree, the processor, the system's versions, the models by their hashes."""
    check_document(document)
    assert document["machine"]["board"] == "Raspberry Pi 4 Model B Rev 1.4"
    assert document["machine"]["compatible"] == ["raspberrypi,4-model-b", "brcm,bcm2711"]
    assert document["machine"]["cpu"] == "Cortex-A72"
    assert document["system"]["os"] == "debian 12"
    assert {model["role"]: model["precision"] for model in document["models"]} == dict.fromkeys(
        ("detector", "recognizer", "liveness"), "int8"
    )
    assert document["sanity"] == {"quiet": True, "throttled": False, "notes": document["sanity"]["notes"]}


def test_a_measurement_says_nothing_of_whose_machine_it_is(document, pi):
    """No serial number, host name, machine id, address of a network, user, path or time of day."""
    text = json.dumps(document)
    private = ["abcdef01", "annas-front-door", "0123456789abcdef0123456789abcdef", "dc:a6:32", str(pi), platform.node()]
    private += [socket.gethostname(), str(Path.home()), os.environ.get("USER", "") or "/home/"]
    for word in {w for w in private if len(w) > 3 and w != "root"}:
        assert word not in text, word
    assert not re.search(r"20\d\d-\d\d-\d\d|\d\d:\d\d:\d\d|[0-9a-f]{2}(?::[0-9a-f]{2}){5}", text)
    assert "/" not in text


def test_a_measurement_opens_no_private_file(pi, monkeypatch):
    """What is not read cannot get into it by mistake."""
    opened = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest, **more: opened.append(str(path)) or real(path, *rest, **more))
    _measurement.this_machine(pi)
    from facegate_edge._conditions import conditions, is_emulated, is_virtual, os_release  # noqa: PLC0415

    for look in (conditions, is_emulated, is_virtual, os_release):
        look(pi)
    names = " ".join(opened)
    assert "device-tree/model" in names
    for word in ("serial", "machine-id", "hostname", "/net/", "board_serial", "product_uuid"):
        assert word not in names


@pytest.mark.parametrize(
    ("path", "value", "kind"),
    [
        ("format", "another", MeasurementError),
        ("version", 2, MeasurementVersionError),
        ("version", True, MeasurementVersionError),
        ("hostname", "annas-front-door", MeasurementError),
        ("machine.serial", "1", MeasurementError),
        ("machine.cores", 0, MeasurementError),
        ("machine.cores", 4.0, MeasurementError),
        ("machine.cores", 10**400, MeasurementError),
        ("runs.0.total.p50_ms", 10**400, MeasurementError),
        ("runs.0.total.p50_ms", float("inf"), MeasurementError),
        ("machine.cores", True, MeasurementError),
        ("machine.board", "x" * 81, MeasurementError),
        ("machine.board", "a\x1b[2Jb", MeasurementError),
        ("machine.target", "rpi9", MeasurementError),
        ("machine.board-", None, MeasurementError),
        ("system.kernel", "6.1 anna", MeasurementError),
        ("software.engine", "onnx", MeasurementError),
        ("models.0.sha256", "00", MeasurementError),
        ("models.0.precision", "int4", MeasurementError),
        ("models.0.role", "recognizer", MeasurementContradictionError),
        ("models.0.family", "arcface", MeasurementContradictionError),
        ("models", [], MeasurementError),
        ("runs", [], MeasurementError),
        ("runs.0.total.p50_ms", -1.0, MeasurementError),
        ("runs.0.total.p50_ms", 0, MeasurementError),
        ("runs.0.total.p50_ms", 1e9, MeasurementError),
        ("runs.0.total.p50_ms", "32", MeasurementError),
        ("runs.0.total.p50_ms", 200.0, MeasurementContradictionError),
        ("runs.0.total.p50_ms", 3.0, MeasurementContradictionError),
        ("runs.0.stages.embed.min_ms", 29.0, MeasurementContradictionError),
        ("runs.0.total.min_ms", 1.0, MeasurementContradictionError),
        ("runs.0.stages.gender", {}, MeasurementError),
        ("runs.0.stages.detect.n", 20, MeasurementContradictionError),
        ("runs.0.threads", 4, MeasurementContradictionError),
        ("runs.1.threads", 1, MeasurementContradictionError),
        ("before.celsius", 1000, MeasurementError),
        ("before.firmware", -1, MeasurementError),
        ("emulated", "no", MeasurementError),
        ("rss_peak_mb", None, MeasurementError),
        ("sanity.quiet", None, MeasurementContradictionError),
        ("sanity.notes", [], MeasurementContradictionError),
        ("before.load", 3.0, MeasurementContradictionError),
    ],
)
def test_what_no_machine_can_have_measured_is_refused(document, path, value, kind):
    """Unknown and missing fields, other types, ranges, another version, figures that contradict each other."""
    document = changed(document, "after.celsius", 85.0)
    document = believed(document)
    check_document(document)
    with pytest.raises(MeasurementError) as refused:
        check_document(changed(document, path, value))
    assert type(refused.value) is kind
    assert refused.value.hint


@pytest.mark.parametrize("document", [None, [], 1, "x", {}, {"format": "facegate-measurement"}])
def test_what_is_no_measurement_at_all_is_refused(document):
    """Any other JSON."""
    with pytest.raises(MeasurementError):
        check_document(document)


@pytest.mark.parametrize(
    ("path", "value", "field", "expected", "note"),
    [
        ("before.load", 2.0, "quiet", False, "busy"),
        ("before.load", None, "quiet", None, ""),
        ("runs.1.total.p90_ms", 28.0, "quiet", False, "noisy"),
        ("after.cooling", True, "throttled", True, "throttled"),
        ("after.firmware", 0x40000, "throttled", True, "throttled"),
        ("after.celsius", 82.0, "throttled", False, "hot"),
        ("emulated", True, "quiet", True, "emulated"),
        ("virtual", True, "quiet", True, "virtual"),
        ("before.frequencies.0.governor", "ondemand", "quiet", True, "governor: ondemand"),
    ],
)
def test_what_can_be_believed_follows_from_the_figures(document, path, value, field, expected, note):
    """Load and spread, cooling and the firmware's word, an emulator, a governor that varies the frequency."""
    document = changed(changed(document, "emulated", False), "virtual", False)
    assert sanity(document) == {"quiet": True, "throttled": False, "notes": []}
    found = sanity(changed(document, path, value))
    assert found[field] is expected
    assert [bool(note)] == [bool(found["notes"])]
    assert not note or found["notes"][0].startswith(note)


def test_an_emulators_measurement_is_refused(document, tmp_path):
    """By an error of its own, unless it is asked for by name."""
    file = tmp_path / "emulated.json"
    file.write_text(json.dumps(believed(changed(document, "emulated", True))))
    with pytest.raises(EmulatedMeasurementError, match=r"emulated\.json"):
        read_measurement(file)
    assert read_measurement(file, emulated=True)["emulated"] is True


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"[" * 100_000, b'{"format":1,"format":2}', b'{"a":NaN}', b" " * (MAX_BYTES + 1)],
    ids=["empty", "cut", "no text", "deep", "a name twice", "no number", "large"],
)
def test_a_file_that_is_none_is_refused(tmp_path, content):
    """Whatever a stranger sends."""
    file = tmp_path / "measurement.json"
    file.write_bytes(content)
    with pytest.raises(MeasurementError):
        read_measurement(file)


@pytest.mark.parametrize("name", ["none.json", "."])
def test_a_file_that_cannot_be_read_is_an_error(tmp_path, name):
    """It is not there, or is a folder."""
    with pytest.raises(MeasurementError, match="cannot be read"):
        read_measurement(tmp_path / name)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A real measurement of this machine, through the command."""
    file = tmp_path_factory.mktemp("measured") / "here.json"
    assert main(["bench", "--submit-file", str(file), "--frames", "3", "--json"]) == 0
    return file


def test_the_command_measures_this_machine(written):
    """Without a bundle it is the reference bundle; the file is valid, whole, and for everybody to read."""
    document = read_measurement(written, emulated=True)
    assert document["bundle"]["name"] == "reference"
    assert document["runs"][0]["frames"] == 3
    assert {"detect", "embed", "liveness"} <= set(document["runs"][0]["stages"])
    assert stat.S_IMODE(written.stat().st_mode) == 0o644
    assert [p.name for p in written.parent.iterdir()] == ["here.json"]


def test_the_command_shows_all_that_it_writes(tmp_path, capsys):
    """The whole text of the file stands on the screen, with the promise that it goes nowhere by itself."""
    file = tmp_path / "shown.json"
    assert main(["bench", "--submit-file", str(file), "--frames", "2"]) == 0
    captured = capsys.readouterr()
    assert file.read_text().strip() in captured.err
    assert "This is all that the file holds. It is sent to nobody" in captured.err
    assert f"wrote {file}" in captured.out


def write(file):
    """What happens after minutes of measuring."""
    from facegate.cli import _measurement as command  # noqa: PLC0415 - it loads what help must not wait for

    command._write(file, "{}\n")


def test_a_stick_without_links_and_modes_takes_a_measurement(tmp_path, monkeypatch):
    """FAT, which is what people carry files on: measured for minutes, and then written."""

    def refused(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    monkeypatch.setattr(os, "fchmod", refused)
    write(tmp_path / "pi.json")
    assert [p.name for p in tmp_path.iterdir()] == ["pi.json"]
    assert (tmp_path / "pi.json").read_text() == "{}\n"


def test_a_measurement_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    """A disk that is full leaves nothing behind; what came there meanwhile stays."""

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(MeasurementWriteError, match="No space left"):
            write(tmp_path / "pi.json")
    assert not list(tmp_path.iterdir())
    (tmp_path / "pi.json").write_text("mine")
    with pytest.raises(MeasurementWriteError, match="exists already"):
        write(tmp_path / "pi.json")
    assert (tmp_path / "pi.json").read_text() == "mine"


def test_a_person_can_say_no(tmp_path, monkeypatch, capsys):
    """At a terminal it is asked, and an answer of no writes nothing."""
    from facegate.cli import _measurement as command  # noqa: PLC0415 - for this test only

    monkeypatch.setattr(command, "is_scripted", lambda _: False)
    monkeypatch.setattr(command.click, "confirm", lambda *_, **__: False)
    file = tmp_path / "no.json"
    assert main(["bench", "--submit-file", str(file), "--frames", "2"]) == 1
    assert not list(tmp_path.iterdir())
    assert "nothing was written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--submit-file", "{there}"], 5),
        (["--submit-file", "{folder}/nowhere/file.json"], 5),
        (["--submit-file", "{folder}/new.json", "--threads", "2"], 2),
        (["--submit-file", "{folder}/new.json", "--image", "photo.jpg"], 2),
        (["none.fgb", "--development", "--submit-file", "{folder}/new.json"], 3),
        (["{there}", "--submit-file", "{folder}/new.json"], 2),
    ],
    ids=["exists", "no folder", "threads", "a photograph", "no bundle", "whom to trust"],
)
def test_the_command_refuses_before_it_measures(tmp_path, arguments, code, capsys):
    """Nothing is overwritten, and measurements are made alike: no photograph, no threads of one's own."""
    there = tmp_path / "there.json"
    there.write_text("mine")
    assert main(["bench", *(a.format(there=there, folder=tmp_path) for a in arguments)]) == code
    assert capsys.readouterr().err.startswith("error:")
    assert [p.name for p in tmp_path.iterdir()] == ["there.json"]
    assert there.read_text() == "mine"


@pytest.fixture
def two(document, tmp_path):
    """Two files: a board, and one that is twice as fast and has no liveness stage."""
    faster = changed(document, "machine.board", "Raspberry Pi 5 Model B Rev 1.0")
    faster["runs"] = [a_run(1, 0.5), a_run(4, 0.2)]
    files = tmp_path / "pi4.json", tmp_path / "pi5.json"
    for file, content in zip(files, (document, believed(faster)), strict=True):
        file.write_text(json.dumps(content))
    return files


def test_measurements_are_put_side_by_side(two, capsys):
    """Medians by threads and stage, with their ratios to the first; what one has not measured stays open."""
    assert main(["bench-compare", *map(str, two), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = {(row["threads"], row["stage"]): row for row in found["rows"]}
    assert rows[1, "total"]["ratio"] == [1.0, 0.5]
    assert rows[2, "total"] == {"threads": 2, "stage": "total", "p50_ms": [19.2, None], "ratio": [1.0, None]}
    assert rows[4, "total"]["p50_ms"] == [None, 6.4]
    assert [one["board"] for one in found["measurements"]] == [
        "Raspberry Pi 4 Model B Rev 1.4",
        "Raspberry Pi 5 Model B Rev 1.0",
    ]
    assert found["same_bundle"] is True


def test_people_get_a_table(two, capsys):
    """One column a file, and below it what can be believed of each."""
    assert main(["bench-compare", *map(str, two)]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"1 +total +32\.000 +16\.000 \(0\.50\)", shown)
    assert "pi4.json: quiet: yes; slowed down: no" in shown


def test_other_models_are_pointed_out(two, capsys):
    """A ratio between two bundles is not one between two boards."""
    other = json.loads(two[1].read_text())
    other["bundle"]["id"] = "0" * 64
    two[1].write_text(json.dumps(other))
    assert main(["bench-compare", *map(str, two)]) == 0
    assert "The bundles are not the same" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["none.json"], 3), (["--emulated", "none.json"], 3)])
def test_the_reader_refuses_like_every_command(arguments, code, capsys):
    """No file is a usage error, a missing one is the input's."""
    assert main(["bench-compare", *arguments]) == code
    assert capsys.readouterr().err.startswith("error:")
