"""Where a frame's time goes, measured inside the pipeline."""

from __future__ import annotations

from time import perf_counter_ns

STAGES = ("preprocess", "detect", "decode", "align", "measure", "embed", "template", "liveness-input", "liveness")
INFERENCE = ("detect", "embed", "liveness")


class Timings:
    """Nanoseconds by stage and frame. Given to a `Pipeline`; a pipeline without one measures nothing and pays nothing.

    The stages (`STAGES`) are: preprocess (letterbox and quantise), detect (inference), decode (with suppression and
    making the faces), align (warp), measure (quality), embed (inference), template, liveness-input (crop) and liveness
    (inference). `INFERENCE` are those spent in the engine. Work between the stages is in the frame's total only.

    Attributes:
        stages: stage to one entry a frame, nanoseconds.
        totals: one entry a frame, nanoseconds from `begin` to `end`.
    """

    __slots__ = ("_began", "_current", "_mark", "stages", "totals")

    def __init__(self) -> None:
        self.stages: dict[str, list[int]] = {stage: [] for stage in STAGES}
        self.totals: list[int] = []
        self._current = dict.fromkeys(STAGES, 0)
        self._began = self._mark = 0

    def begin(self) -> None:
        """A frame begins."""
        for stage in STAGES:
            self._current[stage] = 0
        self._began = self._mark = perf_counter_ns()

    def mark(self) -> None:
        """A stage begins now, after something that belongs to none."""
        self._mark = perf_counter_ns()

    def lap(self, stage: str) -> None:
        """A stage ends now, and the next one begins. Stages that run several times in a frame add up."""
        now = perf_counter_ns()
        self._current[stage] += now - self._mark
        self._mark = now

    def end(self) -> None:
        """The frame ends."""
        self.totals.append(perf_counter_ns() - self._began)
        for stage, spent in self._current.items():
            self.stages[stage].append(spent)
