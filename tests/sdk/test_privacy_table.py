"""docs/privacy.md is honest: every test that it names exists, every chapter is there, its figures are the code's."""

from __future__ import annotations

import ast
import functools
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from facegate._credentials import ROLES
from facegate._prohibited import RULES
from facegate._rights._requests import RIGHTS
from facegate._settings import SETTINGS

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "privacy.md"
CHAPTERS = [
    "Rights of people",
    "Consent",
    "Minors",
    "Retention",
    "No image is kept",
    "Protection of templates",
    "Deletion",
    "Human oversight",
    "Limits against misuse",
    "Feedback",
]
SOURCES = ["GDPR Art.", "BIPA", "CUBI", "AI Act Art.", "ISO/IEC 24745", "Android CDD", "Codes"]
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


@dataclass(frozen=True)
class Row:
    """A demand."""

    chapter: str
    demand: str
    source: str
    control: str
    tests: str


def read(text: str) -> list[Row]:
    """The rows of all tables."""
    rows, chapter = [], ""
    for line in text.splitlines():
        if line.startswith("## "):
            chapter = line[3:]
        elif line.startswith("| ") and not line.startswith("| demand "):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            assert len(cells) == 4, f"this row has not four cells: {line}"
            rows.append(Row(chapter, *cells))
    return rows


@functools.cache
def functions(path: Path) -> frozenset[str]:
    """The tests in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def missing(row: Row, root: Path = ROOT) -> list[str]:
    """What a row names that there is not; a row that names no test lacks one."""
    named = TEST.findall(row.tests)
    if not named or TEST.sub("", row.tests).strip():
        return [f"no test, or something else than tests: {row.tests}"]
    return [
        f"{path}::{name}" for path, name in named if not (root / path).is_file() or name not in functions(root / path)
    ]


ROWS = read(TABLE.read_text(encoding="utf-8"))
TEXT = TABLE.read_text(encoding="utf-8")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.demand[:60])
def test_every_named_test_exists(row):
    """A demand has a source, a control, and tests that are there."""
    assert row.demand
    assert row.control
    assert any(source in row.source for source in SOURCES), row.source
    assert missing(row) == []


def test_every_test_that_is_named_in_words_exists():
    """What is told around the tables rests on tests, too."""
    words = "\n".join(line for line in TEXT.splitlines() if not line.startswith("|"))
    named = TEST.findall(words)
    assert len(named) == words.count("::") > 0
    assert [name for path, name in named if name not in functions(ROOT / path)] == []


def test_the_check_can_fail(tmp_path):
    """A test that was renamed, a file that is gone, and a row without a test are found."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text("def test_there():\n    pass\n")
    head = "## Chapter\n| demand | source | control | tests |\n|---|---|---|---|\n"
    for named, wrong in (
        ("`tests/test_a.py::test_there`", 0),
        ("`tests/test_a.py::test_gone`", 1),
        ("`tests/test_b.py::test_there`", 1),
        ("`tests/test_a.py::test_there` `tests/test_b.py::test_gone`", 1),
        ("by hand", 1),
        ("`tests/test_a.py::test_there` and by hand", 1),
        ("", 1),
    ):
        (row,) = read(f"{head}| d | s | c | {named} |\n")
        assert row.chapter == "Chapter"
        assert len(missing(row, tmp_path)) == wrong, named


def test_every_chapter_has_demands():
    """All that the project promises is there, and nothing stands outside a chapter."""
    assert list(dict.fromkeys(row.chapter for row in ROWS)) == CHAPTERS


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_is_answered(source):
    """Each kind of source has demands in the table."""
    assert any(source in row.source for row in ROWS)


def test_every_right_has_a_row():
    """A right that can be asked for stands among the rights, by the word that the method or the demand has."""
    words = {"withdrawal": "withdraw", "closing": "close_account", "correction": "correct", "erasure": "erase"}
    words |= {"restriction": "restrict", "objection": "object_automated", "explanation": "explain"}
    rights = " ".join(row.control for row in ROWS if row.chapter == "Rights of people")
    assert [right for right in RIGHTS if f"PrivacyOfficer.{words.get(right, right)}" not in rights] == []


def test_every_prohibited_purpose_has_a_row():
    """What is refused by name is named."""
    assert [rule.name for rule in RULES if f"`{rule.name}`" not in TEXT] == []


def test_every_role_is_named():
    """The roles are those of the code."""
    assert [role for role in ROLES if f"`{role}`" not in TEXT] == []


def test_the_figures_are_the_codes():
    """`setting` (figure) in the table is the default of that setting; every retention setting is in it."""
    told = dict(re.findall(r"`(\w+)` \((\d+)", TEXT))
    assert {name: int(value) for name, value in told.items()} == {name: SETTINGS[name].default for name in told}
    kept = {name for name in SETTINGS if name.endswith("_days") or name.startswith(("people_", "captured_"))}
    assert kept - {"request_due_days", "clock_gap_days"} <= told.keys() | {"people_preset"}


def test_the_limits_are_the_codes():
    """At most 24 hours, at least 6 months: as the settings have it."""
    assert SETTINGS["captured_seconds"].limits == (1, 86_400)
    assert "`captured_seconds` (300, at most 86400)" in TEXT
    assert SETTINGS["audit_days"].limits is not None
    assert SETTINGS["audit_days"].limits[0] == 184
    assert "`audit_days` (365, at least 184)" in TEXT
