"""`facegate evaluate features`, `serve` and `account`: the hosted protocol's two sides."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facegate_convert.cli._common import FILE, PRESETS, parse_name, parse_size, progress_bar

if TYPE_CHECKING:
    from datetime import datetime

    from facegate_convert._bundles import Model
    from facegate_edge._output import Output

__all__ = ["account", "features", "serve"]

_MODEL = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})=(.+)", re.ASCII | re.DOTALL)
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_PATH = re.compile(r"/(?:[A-Za-z0-9._~-]+/?)*", re.ASCII)


def _parse_models(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for value in values:
        match = _MODEL.fullmatch(value)
        if match is None or match[1] in found:
            raise click.BadParameter(f"'{value}' is no NAME=FILE, or the name was given twice")
        found[match[1]] = Path(match[2])
    return found


def _parse_model_names(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not _MODEL_NAME.fullmatch(value):
            raise click.BadParameter(f"'{value}' is no model's name: letters, digits, dots, dashes, underscores")
    return values


def _parse_until(_ctx: click.Context, _param: click.Parameter, value: str) -> datetime:
    from datetime import datetime, timezone  # noqa: PLC0415

    from facegate_convert._hosted._window import LONGEST, parse_until  # noqa: PLC0415

    try:
        return parse_until(value, datetime.now(timezone.utc))
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"'{value}' is neither a duration (8h, 30m, 5d) nor a time with its zone (2027-01-31T18:00:00Z), "
            f"in the future and at most {LONGEST.days} days from now"
        ) from None


def _parse_path(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if not _PATH.fullmatch(value):
        raise click.BadParameter(f"'{value}' is no path, e.g. /features")
    return value


@click.command(short_help="Ask a hosted model for the features of photographs.")
@click.argument("images", type=FILE)
@click.option("-o", "--output", "target", type=FILE, required=True, help="Folder for the features.")
@click.option("--model-name", required=True, help="Which model the endpoint shall use.")
@click.option("--endpoint", metavar="URL", help="Better in FACEGATE_ENDPOINT: other users can see a command line.")
@click.option("--token-file", type=FILE, help="File of the account's token; or FACEGATE_ENDPOINT_TOKEN.")
@click.option("--detector", type=FILE, help="Bundle or ONNX detector that finds the faces to crop.")
@click.option("--cropped", is_flag=True, help="The photographs are crops of faces already.")
@click.option("--ca", type=FILE, help="PEM file of the authorities that vouch for the endpoint.")
@click.option("--lawful-basis", required=True, help="Why faces of these people may be sent there; it is noted.")
@click.option("--timeout", type=click.FloatRange(1, 600), default=30.0, show_default=True, help="Seconds a request.")
@click.option("--jobs", type=click.IntRange(1, 32), default=4, show_default=True, help="Requests at a time.")
@click.pass_obj
def features(output: Output, /, **given: Any) -> None:
    """Send the largest face of each photograph in the folder IMAGES to a hosted endpoint, and save what comes back.

    A face leaves this machine as a crop: its box and 10 % on each side, at most 256 pixels, as PNG. Each photograph
    gets a file of the same name with the feature (numpy, float32), empty where no face was found. The same command
    again goes on where it was broken off. `facegate evaluate run FOLDER` evaluates what was saved.
    """
    from facegate_convert._hosted._address import endpoint_url, read_token  # noqa: PLC0415 - see the package
    from facegate_convert._hosted._client import FeatureClient  # noqa: PLC0415
    from facegate_convert._hosted._features import collect_features  # noqa: PLC0415

    if (given["detector"] is None) != given["cropped"]:
        raise click.UsageError("say how faces are found: --detector FILE, or --cropped if the photographs are crops")
    if not given["lawful_basis"].strip():
        raise click.UsageError("--lawful-basis says why these faces may be sent; it cannot be empty")
    url, token = endpoint_url(given["endpoint"]), read_token(given["token_file"])
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(
                FeatureClient(url, given["model_name"], token=token, ca=given["ca"], timeout=given["timeout"])
            )
            for _ in range(given["jobs"])
        ]
        progress = stack.enter_context(progress_bar(output))
        detector = _load_detector(given["detector"]) if given["detector"] is not None else None
        result = collect_features(
            given["images"],
            given["target"],
            clients,
            detector,
            lawful_basis=given["lawful_basis"],
            progress=lambda done, total: progress("asking the endpoint", done, total),
        )
        data = {"folder": str(given["target"]), "model_name": given["model_name"], **result.to_dict()}
        data["retries"] = sum(client.retries for client in clients)
    lines = [
        f"{result.features} features of {result.images} photographs in {given['target']}"
        + (f", {result.before} from before" if result.before else ""),
        f"  no face found here: {result.no_face_here}, by the endpoint: {result.no_face_there}",
        f"  cannot be read: {result.unreadable}",
    ]
    output.emit(data, "\n".join(lines))
    if not result.features:
        click.get_current_context().exit(1)


@click.command(short_help="Serve models by the hosted protocol, for an evaluation.")
@click.option(
    "--model",
    "models",
    metavar="NAME=FILE",
    multiple=True,
    required=True,
    callback=_parse_models,
    help="A bundle, or an ONNX recogniser, and the model_name that it answers to (repeatable).",
)
@click.option("--detector", type=FILE, help="For ONNX recognisers: bundle or ONNX detector.")
@click.option("--preprocess", type=click.Choice(PRESETS), help="For ONNX recognisers: normalisation by name.")
@click.option("--input-size", metavar="WxH", callback=parse_size, help="For ONNX detectors that leave it open.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Beyond this machine: TLS and accounts.")
@click.option("--port", type=click.IntRange(0, 65535), default=8750, show_default=True, help="0: any that is free.")
@click.option("--path", "path_", default="/features", show_default=True, callback=_parse_path)
@click.option("--accounts", type=FILE, help="Who may ask, see `facegate evaluate account`.")
@click.option("--certificate", type=FILE, help="For TLS: PEM file, with the chain.")
@click.option("--private-key", type=FILE, help="For TLS: PEM file of mode 0600.")
@click.option(
    "--until",
    metavar="DURATION|TIME",
    default="8h",
    show_default=True,
    callback=_parse_until,
    help="End of the evaluation; everything is refused after it.",
)
@click.option(
    "--per-minute", type=click.IntRange(1, 1_000_000), default=6000, show_default=True, help="Without accounts: limit."
)
@click.option("--workers", type=click.IntRange(1, 64), help="Crops worked on at a time [default: cores, at most 4].")
@click.pass_obj
def serve(output: Output, /, **given: Any) -> None:
    """Answer the hosted evaluation protocol with models of this machine, until the evaluation ends or SIGTERM.

    This is a tool of the build host. It returns embeddings, which a device never does: never run it on one. Nothing of
    what is sent is kept or logged. docs/hosted-protocol.md has the protocol and the limits.
    """
    from facegate_convert._hosted._serve import Plan, start  # noqa: PLC0415 - starlette and uvicorn are heavy

    if (given["certificate"] is None) != (given["private_key"] is None):
        raise click.UsageError("TLS needs both --certificate and --private-key")
    plan = Plan(
        host=given["host"],
        port=given["port"],
        path=given["path_"],
        until=given["until"],
        accounts=given["accounts"],
        certificate=given["certificate"],
        private_key=given["private_key"],
        per_minute=given["per_minute"],
        workers=given["workers"] or min(4, os.cpu_count() or 1),
    )
    with start(plan, lambda: _load_models(given, output)) as running:
        output.emit(running.to_dict(), running.describe)
        running.serve_forever()
    output.progress(running.ended())


@click.command(short_help="Make or remove an account of the hosted server.")
@click.argument("name", callback=parse_name)
@click.option("--accounts", type=FILE, required=True, help="The accounts' file; made if it is not there.")
@click.option(
    "--model", "models", metavar="NAME", multiple=True, callback=_parse_model_names, help="It may use (repeatable)."
)
@click.option("--per-minute", type=click.IntRange(1, 1_000_000), default=600, show_default=True, help="Requests.")
@click.option("--remove", is_flag=True, help="Remove the account.")
@click.pass_obj
def account(output: Output, /, **given: Any) -> None:
    """Make the account NAME and print its token, which is kept nowhere; again: a new token. A server reads at start."""
    from facegate_convert._hosted._accounts import add_account, remove_account  # noqa: PLC0415 - see the package

    name, path = given["name"], given["accounts"]
    if given["remove"]:
        removed = remove_account(path, name)
        output.emit({"account": name, "removed": removed}, f"{'removed' if removed else 'there is no account'} {name}")
        if not removed:
            click.get_current_context().exit(1)
        return
    if not given["models"]:
        raise click.UsageError("name the models that the account may use with --model NAME")
    token = add_account(path, name, given["models"], given["per_minute"])
    data = {
        "account": name,
        "token": token,
        "models": sorted(set(given["models"])),
        "per_minute": given["per_minute"],
        "accounts": str(path),
    }
    output.emit(data, f"{token}\n")


def _load_detector(path: Path) -> Model:
    from facegate_convert._bundles import load_models  # noqa: PLC0415
    from facegate_convert.errors import BuildError  # noqa: PLC0415

    found = next((model for model in load_models(path) if model.info.role == "detector"), None)
    if found is None:
        raise BuildError(f"{path} holds no detector", hint="name a bundle with one, or an ONNX detector")
    return found


def _load_models(given: dict[str, Any], output: Output) -> dict[str, list[Model]]:
    """The models by the name that they answer to, ONNX files converted without loss."""
    from facegate_convert._bundles import load_all  # noqa: PLC0415
    from facegate_convert._convert import Options  # noqa: PLC0415

    options = Options(preprocess=given["preprocess"], input_size=given["input_size"], measure_latency=False)
    found: dict[str, list[Model]] = {}
    with progress_bar(output) as progress:
        for name, path in given["models"].items():
            models = load_all([path], options, progress=progress)
            if given["detector"] is not None and all(model.info.role != "detector" for model in models):
                models.insert(0, _load_detector(given["detector"]))
            found[name] = models
    return found
