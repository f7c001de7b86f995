"""Templates of photographs through the pipeline that the bundle will run: what operating points are measured with.

One process, one photograph after the other; `_evaluate` makes those of many photographs on all cores, and keeps them.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from facegate_convert._bundles import draft
from facegate_edge.errors import FrameError, KernelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from facegate_convert._bundles import Model
    from facegate_edge._values import Frame, Template


@contextlib.contextmanager
def embedder(
    models: Sequence[Model], *, threads: int = 2, load: Callable[[Path], Frame] | None = None
) -> Iterator[Callable[[Path], Template | None]]:
    """A function from a photograph to the template of its largest face, None if it shows no usable one.

    Args:
        models: a detector and a recogniser.
        threads: for each model.
        load: reads a photograph; `facegate_edge.load_image` if None.

    Raises:
        ModelError: the models do not fit together.
    """
    from facegate_convert._evaluate._makers import Models, choose  # noqa: PLC0415 - the engine is loaded where it is used
    from facegate_edge import Pipeline, load_image  # noqa: PLC0415

    source = Models(draft(models), {m.info.role: m.data for m in models})
    with Pipeline(source, threads=threads) as pipeline:

        def embed(path: Path) -> Template | None:
            try:
                frame = (load or load_image)(path)
                face = choose(pipeline.detect(frame), frame, "largest")
                return None if face is None else pipeline.embed(frame, face)
            except (FrameError, KernelError):  # no image, or a face that cannot be aligned: a failure to enrol
                return None

        yield embed
