"""terminal.toml: every key is known, has a type and a range, and may be left out if it has a default.

TOML because a device's configuration needs comments, and Python has read it since 3.11 (on 3.10 `tomli` does).
Nothing in it is secret: the gate's credential is named by its file, or comes from systemd. What each key means stands
in terminal.toml beside this file.
"""

from __future__ import annotations

import difflib
import importlib
import os
import stat
import sys
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from facegate_terminal._errors import ConfigError

__all__ = [
    "CameraConfig",
    "Config",
    "DoorConfig",
    "GateConfig",
    "LightConfig",
    "StatusConfig",
    "VisitConfig",
    "WatchdogConfig",
    "load_config",
    "parse_config",
]

_MAX_FILE = 64 * 1024
_EXACT = 1 << 53  # up to it every whole number is a float, and far beyond every range
_HINT = f"{Path(__file__).with_name('terminal.toml')} shows every key with its default"


def _number(default: float, low: float, high: float) -> Any:
    return field(default=default, metadata={"range": (low, high)})


def _choice(default: str, *others: str) -> Any:
    return field(default=default, metadata={"choices": (default, *others)})


def _path(default: str = "") -> Any:
    return field(default=default, metadata={"path": True})


@dataclass(frozen=True, slots=True)
class GateConfig:
    """[gate]: who is known, and by which rules."""

    folder: str = _path("/var/lib/facegate/gate")
    credential: str = _path()


@dataclass(frozen=True, slots=True)
class CameraConfig:
    """[camera]: where frames come from."""

    source: str = _choice("v4l2", "picamera2", "pictures")
    device: str = _path("/dev/video0")
    number: int = _number(0, 0, 16)
    folder: str = _path()
    seconds: float = _number(2.0, 0.05, 3600)
    repeat: bool = True
    width: int = _number(640, 64, 4096)
    height: int = _number(480, 64, 4096)
    fps: int = _number(15, 1, 120)
    rotation: int = field(default=0, metadata={"choices": (0, 90, 180, 270)})
    timeout_seconds: float = _number(5.0, 0.5, 60)


@dataclass(frozen=True, slots=True)
class VisitConfig:
    """[visit]: when the gate is asked about somebody, and how often. What a match is stands in its policy.json."""

    idle_fps: float = _number(2.0, 0.2, 60)
    fps: float = _number(8.0, 0.5, 60)
    face_pixels: int = _number(80, 20, 2000)
    retry_seconds: float = _number(1.0, 0.1, 60)
    tries: int = _number(3, 1, 100)
    away_seconds: float = _number(1.5, 0.2, 60)
    again_seconds: float = _number(10.0, 1, 3600)
    pause_seconds: float = _number(5.0, 0.5, 600)
    matches: int = _number(1, 1, 20)
    of: int = _number(1, 1, 20)


@dataclass(frozen=True, slots=True)
class DoorConfig:
    """[door]: the line that lets somebody in."""

    line: str = _choice("gpio", "file")
    chip: str = _path("/dev/gpiochip0")
    offset: int = _number(-1, -1, 1023)
    active_low: bool = False
    file: str = _path()
    open_seconds: float = _number(4.0, 0.2, 60)
    require_believed_clock: bool = False
    allow_demonstration: bool = False


@dataclass(frozen=True, slots=True)
class LightConfig:
    """[light]: a lamp that shows how the terminal is. Its keys are those of [door]; `none` is no lamp."""

    line: str = _choice("none", "gpio", "file")
    chip: str = _path("/dev/gpiochip0")
    offset: int = _number(-1, -1, 1023)
    active_low: bool = False
    file: str = _path()


@dataclass(frozen=True, slots=True)
class WatchdogConfig:
    """[watchdog]: a hardware watchdog of the terminal's own; systemd's is used by itself."""

    device: str = _path()
    timeout_seconds: int = _number(15, 2, 600)


@dataclass(frozen=True, slots=True)
class StatusConfig:
    """[status]: what `--status` tells."""

    file: str = _path("/run/facegate/terminal.json")
    seconds: float = _number(10.0, 0.5, 600)
    low_disk_mb: int = _number(200, 0, 1_000_000)


@dataclass(frozen=True, slots=True)
class Config:
    """A terminal's whole configuration, one attribute a table."""

    gate: GateConfig = field(default_factory=GateConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)
    visit: VisitConfig = field(default_factory=VisitConfig)
    door: DoorConfig = field(default_factory=DoorConfig)
    light: LightConfig = field(default_factory=LightConfig)
    watchdog: WatchdogConfig = field(default_factory=WatchdogConfig)
    status: StatusConfig = field(default_factory=StatusConfig)

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        door, light, visit, camera = self.door, self.light, self.visit, self.camera
        for name, lamp in (("door", door), ("light", light)):
            _require(lamp.line != "gpio" or lamp.offset >= 0, f"[{name}] offset", "the number of a line of the chip")
            _require(lamp.line != "file" or bool(lamp.file), f"[{name}] file", "a path, if the line is a file")
        same_line = door.line == light.line == "gpio" and door.chip == light.chip
        _require(not (same_line and door.offset == light.offset), "[light] offset", "another line than the door's")
        same_file = door.line == light.line == "file" and door.file == light.file
        _require(not same_file, "[light] file", "another file than the door's")
        closed = door.line == "file" or not door.allow_demonstration
        _require(closed, "[door] allow_demonstration", "false: a demonstration opens no real door")
        _require(visit.matches <= visit.of <= visit.tries, "[visit] matches, of, tries", "in this order of size")
        _require(visit.idle_fps <= visit.fps <= camera.fps, "[visit] idle_fps, fps, [camera] fps", "in this order")
        _require(camera.source != "pictures" or bool(camera.folder), "[camera] folder", "a folder of pictures")
        looks = visit.away_seconds * visit.fps > 1
        _require(looks, "[visit] away_seconds", "longer than the time between two frames (fps)")
        even = camera.width % 2 == 0 and camera.height % 2 == 0
        _require(even, "[camera] width, height", "even: chroma is shared by two pixels")


def load_config(path: Path) -> Config:
    """Read a configuration. Relative paths in it count from its folder.

    Raises:
        ConfigError: it cannot be read, everybody may change it, or it is not valid.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint=_HINT) from None
    if mode & stat.S_IWOTH:
        raise ConfigError(
            f"every user of this machine can change {path}", hint=f"it says what opens the door: chmod o-w {path}"
        )
    if len(data) > _MAX_FILE:
        raise ConfigError(f"{path} is far too large", hint=_HINT)
    try:
        return parse_config(data.decode("utf-8"), path.parent.absolute())
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is no text", hint=_HINT) from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}", hint=error.hint) from None


def parse_config(text: str, base: Path) -> Config:
    """The configuration of a TOML text.

    Args:
        text: of the file.
        base: absolute; where relative paths count from.

    Raises:
        ConfigError: it is no TOML, a key is unknown, or a value is not one that the key can have.
    """
    document = _read_toml(text)
    known = {part.name: part.default_factory for part in fields(Config)}
    made = {}
    for name, table in document.items():
        if name not in known:
            raise ConfigError(f"[{name}]: there is no such table", hint=_similar(name, known))
        if not isinstance(table, dict):
            raise ConfigError(f"{name}: this key belongs into a table", hint=f"the tables are {', '.join(known)}")
        made[name] = _table(known[name], name, table, base)
    return Config(**made)


def _read_toml(text: str) -> dict[str, Any]:
    try:
        tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    except ImportError:
        raise ConfigError(
            "Python 3.10 cannot read TOML by itself", hint="pip install 'facegate[terminal]' brings tomli"
        ) from None
    try:
        return dict(tomllib.loads(text))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"this is no TOML: {error}", hint=_HINT) from None


def _table(kind: Any, name: str, table: dict[str, Any], base: Path) -> Any:
    known = {part.name: part for part in fields(kind)}
    given = {}
    for key, value in table.items():
        if key not in known:
            raise ConfigError(f"[{name}] {key}: there is no such key", hint=_similar(key, known))
        given[key] = _value(known[key], f"[{name}] {key}", value, base)
    return kind(**given)


def _value(part: Field[Any], where: str, value: Any, base: Path) -> Any:
    """The value as the key's type has it. Raises ConfigError."""
    wanted = type(part.default)
    if wanted is float and type(value) is int:
        value = float(max(-_EXACT, min(value, _EXACT)))  # a larger one is no float
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text in quotes"}
    _require(part.default is not MISSING and type(value) is wanted, where, words[wanted])
    if "choices" in part.metadata:
        choices = part.metadata["choices"]
        _require(value in choices, where, f"one of {', '.join(map(str, choices))}")
    if "range" in part.metadata:
        low, high = part.metadata["range"]
        _require(low <= value <= high, where, f"{low:g} to {high:g}")
    if part.metadata.get("path") and value:
        _require("\0" not in value and bool((base / value).name), where, "a path")
        value = str(base / value)
    return value


def _similar(name: str, known: Any) -> str:
    """What may have been meant."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"


def _require(condition: bool, where: str, what: str) -> None:
    if not condition:
        raise ConfigError(f"{where}: this must be {what}", hint=_HINT)
