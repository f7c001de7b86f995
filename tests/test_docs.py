"""The pages: what they link to is there, and what they tell a reader to type is a command."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from facegate.cli._commands import root

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
IDS = [str(page.relative_to(ROOT)) for page in PAGES]
RECORDS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
# What ends a command in a shell, and what stands for one's own arguments in a page.
ENDS = {"|", "||", "&&", ";", ">", ">>", "<", "&", "#", "2>&1"}


def anchor(heading: str) -> str:
    """What a heading is called in a link, as GitHub makes it."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading.strip().lower())
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    """Every heading of a page, as in links."""
    return {anchor(heading) for heading in re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)}


def commands(page: Path) -> list[str]:
    """Every command line that a page shows: in its blocks, and between backticks with an option."""
    text = page.read_text(encoding="utf-8")
    blocks = [*FENCE.findall(text), *re.findall(r"(?:^ {4}.*\n)+", FENCE.sub("", text), re.MULTILINE)]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(blocks))
    typed = re.findall(
        r"^\s*(?:\$ )?(?:sudo (?:-u \w+ )?)?(?:env )?(?:[A-Z_]+=\S+ )*(facegate [a-z].*)", joined, re.MULTILINE
    )
    return typed + [" ".join(line.split()) for line in re.findall(r"`(facegate [a-z][^`]*)`", FENCE.sub("", text))]


def words(line: str) -> list[str]:
    """A command line's words after the program's name, up to what is the shell's."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    found = []
    for word in lexer:
        if word in ENDS:
            break
        found.append(word)
    return found[1:]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page):
    """Every link to a file of the project, and to a heading in it, leads there."""
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, heading = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not heading or heading in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_that_are_shown_exist(page):
    """Every `facegate ...` in a page names a command, and options that this command has."""
    for line in commands(page):
        command: click.Command = root
        context = click.Context(root, info_name="facegate")
        for word in words(line):
            if word.startswith("--"):
                options = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
                assert word.partition("=")[0] in options | {"--help"}, line
            elif isinstance(command, click.Group) and re.fullmatch(r"[a-z][a-z-]+", word):
                inner = command.get_command(context, word)
                assert inner is not None, line
                context = click.Context(inner, parent=context, info_name=word)
                command = inner


def test_all_decision_records_are_listed():
    """The list of records has every one, by its number and title."""
    listed = (ROOT / "docs" / "adr" / "README.md").read_text(encoding="utf-8")
    assert len(RECORDS) >= 32
    for number, record in enumerate(RECORDS, start=1):
        title = record.read_text(encoding="utf-8").splitlines()[0]
        assert record.name.startswith(f"{number:04}-")
        assert title.startswith(f"# {number}. ")
        assert f"{number}. [{title.partition('. ')[2]}]({record.name})" in listed


def test_every_page_is_found():
    """Whoever begins with README.md gets to every page by links."""
    found, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in found:
            found.add(page)
            links = re.findall(r"\]\(([^)\s#:]+\.md)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
            waiting += [(page.parent / link).resolve() for link in links]
    assert sorted(page.name for page in (ROOT / "docs").glob("*.md") if page not in found) == []
