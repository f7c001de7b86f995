"""terminal.toml: every key is checked, and what is wrong is told with its place."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

import facegate_terminal
from facegate import SystemClock
from facegate_terminal._cli import main
from facegate_terminal._config import Config, DoorConfig, load_config, parse_config
from facegate_terminal._errors import ConfigError

SHIPPED = Path(facegate_terminal.__file__).with_name("terminal.toml")
DOOR = "[door]\noffset = 17\n"
BASE = Path("/etc/facegate")


def test_the_shipped_file_has_every_key_with_its_default():
    """It is the reference: nothing is missing in it, nothing differs, and only the door's line must be set."""
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has none")
    with pytest.raises(ConfigError, match=r"\[door\] offset"):
        load_config(SHIPPED)
    text = SHIPPED.read_text()
    given = tomllib.loads(text)
    given["door"]["offset"] = 17
    assert given == asdict(Config(door=DoorConfig(offset=17)))
    assert parse_config(text.replace("offset = -1 ", "offset = 17 ", 1), BASE) == Config(door=DoorConfig(offset=17))


def test_what_is_left_out_has_its_default():
    """The shortest configuration says which line the door is."""
    assert parse_config(DOOR, BASE) == Config(door=DoorConfig(offset=17))


def test_relative_paths_count_from_the_file():
    """Not from where the program happens to be started."""
    config = parse_config('[door]\nline = "file"\nfile = "../door"\n[gate]\nfolder = "/g"', BASE)
    assert (config.door.file, config.gate.folder) == ("/etc/facegate/../door", "/g")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[dor]\n", r"\[dor\]: there is no such table", "did you mean door"),
        ("[xyz]\n", r"\[xyz\]", "known are gate, camera"),
        ("door = 1\n", "door: this key belongs into a table", "the tables are"),
        ("[door]\nofset = 1\n", r"\[door\] ofset: there is no such key", "did you mean offset"),
        ("[door]\nopen_seconds = '4'\noffset = 1\n", r"\[door\] open_seconds: this must be a number", "terminal.toml"),
        ("[door]\nopen_seconds = 1e9\noffset = 1\n", r"open_seconds: this must be 0.2 to 60", "terminal.toml"),
        ("[door]\nopen_seconds = nan\noffset = 1\n", r"open_seconds: this must be 0.2 to 60", "terminal.toml"),
        (
            f"[door]\nopen_seconds = 1{'0' * 400}\noffset = 1\n",
            r"open_seconds: this must be 0.2 to 60",
            "terminal.toml",
        ),
        (DOOR + "[status]\nfile = '/'\n", r"\[status\] file: this must be a path", "terminal.toml"),
        (
            DOOR + "[visit]\nfps = 0.5\nidle_fps = 0.2\n",
            r"\[visit\] away_seconds: this must be longer",
            "terminal.toml",
        ),
        ("[door]\nopen_seconds = true\noffset = 1\n", r"open_seconds: this must be a number", "terminal.toml"),
        ("[door]\noffset = 1.5\n", r"\[door\] offset: this must be a whole number", "terminal.toml"),
        ("[door]\nline = 'usb'\n", r"\[door\] line: this must be one of gpio, file", "terminal.toml"),
        ("[door]\nline = 'file'\n", r"\[door\] file: this must be a path", "terminal.toml"),
        ('[door]\nline = "file"\nfile = "a\\u0000b"\n', r"file: this must be a path", "terminal.toml"),
        ("", r"\[door\] offset: this must be the number of a line", "terminal.toml"),
        (DOOR + "[camera]\nrotation = 45\n", r"rotation: this must be one of 0, 90, 180, 270", "terminal.toml"),
        (DOOR + "[camera]\nsource = 'pictures'\n", r"\[camera\] folder", "terminal.toml"),
        (DOOR + "[camera]\nwidth = 641\n", "even", "terminal.toml"),
        (DOOR + "[visit]\nmatches = 3\n", "in this order of size", "terminal.toml"),
        (DOOR + "[visit]\nidle_fps = 20\n", "in this order", "terminal.toml"),
        (DOOR + "[light]\nline = 'gpio'\noffset = 17\n", "another line than the door's", "terminal.toml"),
        (DOOR + "allow_demonstration = true\n", "a demonstration opens no real door", "terminal.toml"),
        (DOOR + "offset = 18\n", "this is no TOML", "terminal.toml"),
        ("[door", "this is no TOML", "terminal.toml"),
        ("[" * 5000, "this is no TOML", "terminal.toml"),
    ],
)
def test_what_cannot_be_meant_is_told_with_its_place(text, message, hint):
    """A wrong key, type or range, or two that contradict: named, with advice."""
    with pytest.raises(ConfigError, match=message) as caught:
        parse_config(text, BASE)
    assert hint in caught.value.hint


def test_files_that_are_no_configuration(tmp_path):
    """Missing, a folder, no text, too large, and one that everybody may change."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"#" * 100_000)
    (tmp_path / "open").write_text(DOOR)
    (tmp_path / "open").chmod(0o666)
    for name, message in (
        *(("missing", "cannot be read"), (".", "cannot be read"), ("binary", "no text")),
        *(("large", "too large"), ("open", "every user")),
    ):
        with pytest.raises(ConfigError, match=message):
            load_config(tmp_path / name)


def test_the_command_checks_a_configuration(tmp_path, capsys):
    """--check says yes, or what is wrong; nothing is opened."""
    path = tmp_path / "terminal.toml"
    path.write_text(DOOR)
    assert main(["--config", str(path), "--check"]) == 0
    assert "valid; camera v4l2, door gpio, light none" in capsys.readouterr().out
    path.write_text("[door]\nofset = 1\n")
    assert main(["--config", str(path), "--check"]) == main(["--config", str(path)]) == 3
    said = capsys.readouterr().err
    assert f"{path}: [door] ofset: there is no such key\n  did you mean offset?" in said


@pytest.mark.parametrize(
    "arguments", [["--fast"], ["--script", "x"], ["--json"], ["--status", "--check"], ["--nonsense"], ["file.toml"]]
)
def test_arguments_that_do_not_go_together(arguments, capsys):
    """Exit code 2, and the usage."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_nobody_runs(tmp_path, capsys):
    """--status of a terminal that does not run: exit code 5, also as JSON, also for a file that is no status."""
    path = tmp_path / "terminal.toml"
    path.write_text(f'{DOOR}[status]\nfile = "{tmp_path}/status.json"\n')
    clock = SystemClock()
    alive = {"updated": clock.monotonic() + 0.5, "boot": clock.boot(), "period": 100, "pid": os.getpid()}
    contents = (None, "", "[]", "{}", '{"updated": "x", "boot": "y", "period": 1, "pid": 1}')
    huge = json.dumps(alive | {"pid": 10**30})
    for content in (*contents, json.dumps(alive), huge, "[" * 60_000):
        if content is not None:
            (tmp_path / "status.json").write_text(content)
        assert main(["--config", str(path), "--status"]) == 5
    capsys.readouterr()
    assert main(["--config", str(path), "--status", "--json"]) == 5
    assert capsys.readouterr().out == '{"state": "not_running"}\n'


def test_a_status_that_may_not_be_read(tmp_path, capsys, monkeypatch):
    """Whether a terminal runs is not known then, and is not said: exit code 5, and who may look."""
    path = tmp_path / "terminal.toml"
    path.write_text(f'{DOOR}[status]\nfile = "{tmp_path}/status.json"\n')
    config = load_config(path)
    monkeypatch.setattr("facegate_terminal._cli.load_config", lambda _: config)

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    assert main(["--config", str(path), "--status"]) == 5
    assert "may not be read\n  look as root" in capsys.readouterr().err
