"""The pairs that went wrong most, as pictures: made only when somebody asks for them, on the evaluator's own disk."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from facegate_convert._evaluate._dataset import ID_LENGTH
from facegate_convert.errors import DatasetChangedError
from facegate_edge.errors import FrameError

if TYPE_CHECKING:
    from pathlib import Path

    from facegate_convert._evaluate._evaluation import Evaluation
    from facegate_convert._evaluate._manifest import DatasetManifest

_SIDE = 180  # pixels of a picture on the page
_KINDS = {
    "impostor": ("Two people, taken for one", "The most similar photographs of two people."),
    "genuine": ("One person, taken for two", "The least similar photographs of one person."),
}


def worst_page(evaluation: Evaluation, manifest: DatasetManifest, photographs: Path) -> str:
    """An HTML page that shows the worst pairs, self-contained.

    Args:
        evaluation: whose pairs.
        manifest: of the same run: it says which photograph an id stands for.
        photographs: the folder that the manifest's names are relative to.

    Raises:
        DatasetChangedError: the manifest is of another run, or a photograph is not the one that was evaluated.
    """
    from facegate_convert._pages import Page, Plot  # noqa: PLC0415 - the template engine, where it is used

    if manifest.sha256 != evaluation.dataset["manifest_sha256"]:
        raise DatasetChangedError(
            "the manifest beside the result is not the one of its run", hint="evaluate again; it takes no time"
        )
    known = {digest[:ID_LENGTH]: (name, digest) for name, digest, _ in manifest.photographs}
    page = Page("The worst pairs", f"{evaluation.source['name']} on {evaluation.dataset['name']}", "Evaluation")
    page.note("warn", "This page shows people. It is for the evaluator; delete it with the photographs.")
    pictures: dict[str, str] = {}
    for kind, (title, lead) in _KINDS.items():
        page.section(title, lead)
        for row in evaluation.worst[kind]:
            for name in (row["a"], row["b"]):
                if name not in pictures:
                    pictures[name] = _picture(photographs, *known[name])
            text = f"{row['a']} and {row['b']}"
            pair = Plot(_pair(pictures[row["a"]], pictures[row["b"]], text), text, "Two photographs.")
            page.plot(pair, f"Similarity {row['score']:.4f}")
    return page.to_html()


def _picture(folder: Path, name: str, digest: str) -> str:
    """A photograph as a small JPEG, base64; empty if it cannot be opened."""
    from PIL import Image  # noqa: PLC0415 - where it is used

    from facegate_convert._hosted._crop import upright_rgb  # noqa: PLC0415
    from facegate_edge import load_image  # noqa: PLC0415

    try:
        data = folder.joinpath(*PurePosixPath(name).parts).read_bytes()
    except OSError as error:
        raise DatasetChangedError(
            f"a photograph of the evaluation is not in {folder}",
            hint="name the folder that was evaluated, or the one given with --images",
        ) from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise DatasetChangedError(
            f"a photograph in {folder} is not the one that was evaluated", hint="bring the dataset back to what it was"
        )
    try:
        image = Image.fromarray(upright_rgb(load_image(io.BytesIO(data))))
    except FrameError:
        return ""
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _pair(first: str, second: str, text: str) -> str:
    """Two pictures side by side; `text` is of digits and letters only."""
    width = 2 * _SIDE + 20
    images = "".join(
        f'<image x="{x}" y="0" width="{_SIDE}" height="{_SIDE}" xlink:href="data:image/jpeg;base64,{data}"/>'
        for x, data in ((0, first), (_SIDE + 20, second))
        if data
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'viewBox="0 0 {width} {_SIDE}" style="max-width:{width}px" aria-labelledby="t d">'
        f'<title id="t">{text}</title><desc id="d">Two photographs.</desc>{images}</svg>'
    )
