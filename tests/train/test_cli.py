"""The command line of the training: what it refuses before an hour of work."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from facegate_train import cli
from facegate_train.errors import FiguresError

if TYPE_CHECKING:
    from pathlib import Path


def _run(*arguments: object) -> None:
    """Run a command; its errors come through."""
    done = CliRunner().invoke(cli.main, [str(a) for a in arguments], standalone_mode=False)
    if done.exception:
        raise done.exception


@pytest.mark.parametrize("option", ["--minutes", "--epochs", "--share"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0"])
def test_a_length_that_is_no_number_is_refused(option: str, value: str, tmp_path: Path) -> None:
    """Not even "nan", which is neither below nor above any limit, starts to render."""
    done = CliRunner().invoke(cli.main, ["detector", option, value, "--cache", str(tmp_path / "c")])
    assert done.exit_code == 2
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"models": 3}', b"\xff\xfe"], ids=repr)
def test_cards_without_figures_say_what_to_do(content: bytes | None, tmp_path: Path) -> None:
    """A folder without figures, or with damaged ones, is an error with advice."""
    if content is not None:
        (tmp_path / "figures.json").write_bytes(content)
    with pytest.raises(FiguresError) as caught:
        _run("cards", tmp_path)
    assert "evaluate" in caught.value.hint


def test_damaged_figures_are_told_before_measuring(tmp_path: Path) -> None:
    """Nothing is measured that could not be written afterwards: there are not even models in this folder."""
    (tmp_path / "figures.json").write_text("{")
    with pytest.raises(FiguresError):
        _run("evaluate", "-o", tmp_path, "--cache", tmp_path / "c")


def test_a_trial_does_not_mix_with_figures_that_are_reported(tmp_path: Path) -> None:
    """Figures of a share of the pictures never stand beside those of all."""
    (tmp_path / "figures.json").write_text(json.dumps({"models": {}, "share": 1.0}))
    with pytest.raises(FiguresError, match="share"):
        _run("evaluate", "-o", tmp_path, "--cache", tmp_path / "c", "--share", "0.01")


def test_a_card_s_command_names_what_made_the_model() -> None:
    """Large seeds stand there in full, and so does a cache of another renderer."""
    given = {"seed": 1_234_567, "threads": 2, "epochs": None, "minutes": 12.5, "share": 1.0, "stale_cache": True}
    assert cli._command("detector", given) == (
        "python -m facegate_train detector --seed 1234567 --threads 2 --minutes 12.5 --stale-cache"
    )
