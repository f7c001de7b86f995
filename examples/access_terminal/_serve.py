"""Makes a terminal of its configuration, runs it, and takes it apart again, whatever happens."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import facegate
from facegate.errors import CredentialError
from facegate_terminal._camera import ReopenedCamera, open_camera
from facegate_terminal._clock import SystemTime
from facegate_terminal._door import Door
from facegate_terminal._eyes import Eyes
from facegate_terminal._judge import Judge
from facegate_terminal._light import Light
from facegate_terminal._lines import open_line
from facegate_terminal._status import StatusFile
from facegate_terminal._terminal import Parts, Terminal
from facegate_terminal._watchdog import HardwareWatchdog, ServiceManager

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from facegate import Credential, SignedDecision
    from facegate_edge import Pipeline
    from facegate_terminal._camera import Camera
    from facegate_terminal._clock import Clock
    from facegate_terminal._config import Config, GateConfig
    from facegate_terminal._judge import Verdict

__all__ = ["find_credential", "release", "serve"]

_log = logging.getLogger("facegate_terminal")


def serve(
    config: Config,
    stop: threading.Event,
    *,
    clock: Clock | None = None,
    make_camera: Callable[[], Camera] | None = None,
    on_decision: Callable[[SignedDecision, Verdict, bool], object] | None = None,
) -> None:
    """Run a terminal until it is stopped.

    Args:
        config: all of it.
        stop: ends it.
        clock: where the time comes from.
        make_camera: opens another camera than the configured one.
        on_decision: see `Parts`.

    Raises:
        TerminalError: the door's line or the watchdog cannot be used. A camera that cannot is waited for.
        FacegateError: the gate cannot be opened, or used any more.
    """
    clock = clock if clock is not None else SystemTime()
    with ExitStack() as stack:
        # From the first moment on the door's line is ours, and inactive. Once it may be open it is `run` that releases
        # it, before anything is taken apart.
        line = open_line(config.door, "facegate door", clock.monotonic)
        door = stack.enter_context(Door(line, config.door.open_seconds, clock))
        service = ServiceManager()
        stack.callback(service.close)
        lamp = None if config.light.line == "none" else open_line(config.light, "facegate light", clock.monotonic)
        light = Light(lamp)
        stack.callback(light.close)
        folder = Path(config.gate.folder)
        eyes = Eyes(_pipeline(folder))
        stack.callback(eyes.close)
        gate = stack.enter_context(facegate.open_gate(folder, clock=clock, pipeline=eyes))
        recognizer = gate.recognizer(find_credential(config.gate))
        camera = ReopenedCamera(make_camera or (lambda: open_camera(config.camera)), clock, stop)
        stack.callback(camera.close)
        status = gate.status()
        judge = Judge(
            facegate.VerifyKey.load(folder / "device.key.pub"),
            status.device_id,
            demonstration=config.door.allow_demonstration,
            believed_clock=config.door.require_believed_clock,
            last=status.decisions,
        )
        # Last: what cannot start resets no board, again and again.
        board = stack.enter_context(HardwareWatchdog(config.watchdog.device, config.watchdog.timeout_seconds))
        parts = Parts(
            *(gate, recognizer, eyes, judge, camera, door, light, service, board),
            status=StatusFile(config.status.file),
            clock=clock,
            on_decision=on_decision,
        )
        Terminal(config, parts, stop).run()


def _pipeline(folder: Path) -> Pipeline:
    """The models of the gate's own bundle, verified against the keys that the gate trusts."""
    from facegate_edge import Pipeline  # noqa: PLC0415 - the engine is loaded when it is needed

    with facegate.open_bundle(folder / "bundle.fgb", trust=facegate.TrustStore.load(folder / "trust")) as bundle:
        pipeline = Pipeline(bundle)
    pipeline.warm_up()
    return pipeline


def find_credential(config: GateConfig) -> Credential:
    """The recognizer's credential: as configured, of the service's systemd credentials, or of the environment.

    Raises:
        CredentialError: there is none, or it is not kept from others.
    """
    if config.credential:
        return facegate.Credential.load(config.credential)
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    path = Path(folder) / "recognizer.credential"
    if folder and path.is_file():
        return facegate.Credential.load(path)
    if not os.isatty(0) and not any(name.startswith("FACEGATE_CREDENTIAL") for name in os.environ):
        raise CredentialError(
            "the terminal has no credential",
            hint="LoadCredential=recognizer.credential:PATH in its unit, or [gate] credential in terminal.toml",
        )
    return facegate.find_credential("recognizer")


def release(config: Config) -> None:
    """Drive the door's line, and the lamp's, to inactive: after a crash, when nobody else has them any more.

    Raises:
        LineError: a line cannot be had.
    """
    clock = SystemTime()
    open_line(config.door, "facegate release", clock.monotonic).close()
    if config.light.line != "none":
        open_line(config.light, "facegate release", clock.monotonic).close()
