"""The wheels of `make wheels`: what their tags promise, what is refused, and that their bytes name no builder."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "edge_runtime" / "wheels"
WHEELHOUSE = ROOT / "wheelhouse"
TOOLS = ROOT / ".venv-wheels"
sys.path.append(str(FOLDER))

import wheel_backend  # noqa: E402 - beside the sources, in no package
import wheel_source  # noqa: E402
import wheel_tools  # noqa: E402
from wheel_repack import repack  # noqa: E402
from wheel_targets import TARGETS, WheelError, chosen  # noqa: E402

# Not by its name: the tests' environment has another `build`.
_spec = importlib.util.spec_from_file_location("facegate_wheels_build", FOLDER / "build.py")
build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build)

HOST = TARGETS["x86_64"]


@pytest.fixture
def elf():
    """The module that reads ELF files; skips where its reader is not installed."""
    pytest.importorskip("elftools", reason="needs pyelftools: pip install 'facegate[dev]'")
    import wheel_elf  # noqa: PLC0415 - needs the package checked above

    return wheel_elf


@pytest.fixture
def instructions():
    """The module that looks for instructions; skips as above."""
    pytest.importorskip("elftools", reason="needs pyelftools: pip install 'facegate[dev]'")
    import wheel_instructions  # noqa: PLC0415

    return wheel_instructions


@pytest.fixture
def checks():
    """The module that checks wheels; skips as above."""
    pytest.importorskip("elftools", reason="needs pyelftools: pip install 'facegate[dev]'")
    import wheel_checks  # noqa: PLC0415

    return wheel_checks


@pytest.fixture(scope="session")
def zig() -> list[str]:
    """The wheels' compiler; skips where `make wheels` never ran."""
    found = sorted(TOOLS.glob("lib/python3.*/site-packages/ziglang/zig"))
    if not found:
        pytest.skip("no .venv-wheels here: make wheels makes it")
    os.environ.setdefault("ZIG_GLOBAL_CACHE_DIR", str(TOOLS / "zig-cache"))
    return [str(found[0]), "cc"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git checkout of a few files, one of them ignored, one deleted, one new."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    root = tmp_path / "checkout"
    (root / "sdk").mkdir(parents=True)
    (root / ".gitignore").write_text("*.so\n", encoding="utf-8")
    for name in ("sdk/kept.py", "sdk/deleted.py", "setup.cfg", "notes.md"):
        (root / name).write_text("as committed\n", encoding="utf-8")
    who = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgsign=false"]
    dates = {**os.environ, "GIT_AUTHOR_DATE": "1700000000 +0000", "GIT_COMMITTER_DATE": "1700000000 +0000"}
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(root), *command], check=True, env=dates)  # noqa: S603, S607 - our own words
    (root / "sdk/deleted.py").unlink()
    (root / "sdk/new.py").write_text("new\n", encoding="utf-8")
    (root / "sdk/built.so").write_text("of this machine\n", encoding="utf-8")
    return root


def files(folder: Path) -> set[str]:
    """Every file under a folder, but git's."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and ".git/" not in str(path)}


def plain_wheel(
    path: Path, *, members: dict[str, bytes] | None = None, date: tuple[int, ...] = (2020, 1, 1, 0, 0, 0)
) -> Path:
    """An archive such as setuptools writes, of given members."""
    content = members or {
        "facegate/__init__.py": b"x = 1\n" * 100,
        "facegate_edge/_native.abi3.so": b"\x7fELF" + bytes(100),
        "facegate-1.0.dist-info/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {HOST.tag}\n".encode(),
        "facegate-1.0.dist-info/METADATA": b"Name: facegate\n",
        "facegate-1.0.dist-info/RECORD": b"",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name, date), data)
    return path


# ---------------------------------------------------------------- targets


@pytest.mark.parametrize(
    ("name", "tag", "floor"),
    [
        ("x86_64", "cp310-abi3-manylinux_2_28_x86_64", "2.28"),
        ("aarch64", "cp310-abi3-manylinux_2_28_aarch64", "2.28"),
        ("armv7l", "cp310-abi3-manylinux_2_31_armv7l", "2.31"),
    ],
)
def test_tag_and_floor(name, tag, floor):
    """A target's tag promises the very glibc that the compiler is told to keep to."""
    target = TARGETS[name]
    assert target.tag == tag
    assert target.compiler[:1] == ("-target",)
    assert target.compiler[1].endswith(f".{floor}")


def test_oldest_python_is_the_distributions():
    """The tag's Python is the one that setup.py and setup.cfg name."""
    assert '"py_limited_api": "cp310"' in (ROOT / "setup.py").read_text(encoding="utf-8")
    assert "python_requires = >=3.10" in (ROOT / "setup.cfg").read_text(encoding="utf-8")


def test_armv7l_is_built_without_neon():
    """The v7a of zig has NEON and 32 registers unless it is told otherwise, and not every ARMv7 machine has."""
    (cpu,) = TARGETS["armv7l"].cpu
    assert cpu.endswith("-neon-d32")


def test_targets_are_chosen_by_name_in_the_tables_order():
    """All if none is named; an unknown one is a usage error that names those there are."""
    assert chosen([]) == list(TARGETS.values())
    assert [target.name for target in chosen(["armv7l", "x86_64", "armv7l"])] == ["x86_64", "armv7l"]
    with pytest.raises(WheelError, match="riscv64") as caught:
        chosen(["aarch64", "riscv64"])
    assert caught.value.exit_code == 2
    assert "aarch64" in caught.value.hint


# ---------------------------------------------------------------- the program


def test_usage_errors_end_with_2(capsys):
    """A target that is none, and options that exclude each other."""
    assert build.main(["sparc"]) == 2
    assert "error: no such target: sparc" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        build.main(["--check", "--check-reproducible"])
    assert caught.value.code == 2


def test_another_system_is_refused(monkeypatch, capsys):
    """Not Linux on x86_64: nothing is downloaded, the error says where it works."""
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(wheel_tools, "enter", lambda _: pytest.fail("went on"))
    assert build.main([]) == 5
    assert "hint: any such PC" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_an_error(monkeypatch, capsys, tmp_path):
    """Not a traceback: what could not be opened, before anything is built."""
    monkeypatch.setattr(wheel_tools, "check_host", lambda: None)
    monkeypatch.setattr(wheel_tools, "inside", lambda: True)
    monkeypatch.setattr(build, "build", lambda *_: pytest.fail("went on"))
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    assert build.main(["--output", str(tmp_path / "file")]) == 5
    assert "error: " in capsys.readouterr().err


def test_nothing_to_check_is_said(monkeypatch, capsys, tmp_path):
    """`--check` of an empty folder is not a good answer."""
    pytest.importorskip("elftools", reason="needs pyelftools: pip install 'facegate[dev]'")
    monkeypatch.setattr(wheel_tools, "check_host", lambda: None)
    monkeypatch.setattr(wheel_tools, "inside", lambda: True)
    assert build.main(["--check", "armv7l", "--output", str(tmp_path)]) == 5
    assert "no wheel of armv7l" in capsys.readouterr().err


def test_a_failed_build_leaves_the_wheelhouse_as_it_was(monkeypatch, tmp_path):
    """What was good stays when the next is not."""
    old = tmp_path / f"facegate-1.0-{HOST.tag}.whl"
    old.write_bytes(b"good")

    def fail(*_):
        raise WheelError("no", exit_code=70)

    monkeypatch.setattr(wheel_tools, "check_host", lambda: None)
    monkeypatch.setattr(wheel_tools, "inside", lambda: True)
    monkeypatch.setattr(build, "provenance", lambda _: {})
    monkeypatch.setattr(build, "build", fail)
    assert build.main(["--output", str(tmp_path)]) == 70
    assert old.read_bytes() == b"good"


def test_a_newer_wheel_takes_the_place_of_the_older(tmp_path):
    """One wheel a target, and sums of what is there."""
    (tmp_path / "new").mkdir()
    for name in (f"facegate-1.0-{HOST.tag}.whl", f"facegate-1.0-{TARGETS['armv7l'].tag}.whl"):
        (tmp_path / name).write_bytes(b"old")
    new = tmp_path / "new" / f"facegate-1.1-{HOST.tag}.whl"
    new.write_bytes(b"new")
    build.publish([new], tmp_path, {"commit": "abc"})
    there = sorted(path.name for path in tmp_path.glob("*.whl"))
    assert there == [f"facegate-1.0-{TARGETS['armv7l'].tag}.whl", new.name]
    assert json.loads((tmp_path / f"{new.name}.json").read_text())["sha256"] == build.sha256(new)
    assert [line.split()[1] for line in (tmp_path / "SHA256SUMS").read_text().splitlines()] == there


def test_the_kernels_digest_is_of_what_is_compiled_and_how(tmp_path):
    """A changed, a new and a renamed source each give another one; a file's time and what is made of them do not."""

    def copy(name: str) -> Path:
        root = tmp_path / name
        for part in wheel_source.KERNELS:
            (root / part).parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (ROOT / part).is_dir() else shutil.copyfile)(ROOT / part, root / part)
        return root

    same = copy("same")
    (same / "edge_runtime/csrc/pixels.o").touch()
    seen = {wheel_source.kernels_digest(ROOT)}
    assert {wheel_source.kernels_digest(same)} == seen
    for number, name in enumerate(("edge_runtime/csrc/vector.h", "edge_runtime/wheels/wheel_targets.py", "setup.py")):
        changed = copy(f"changed-{number}")
        (changed / name).write_text((changed / name).read_text() + "\n")
        seen.add(wheel_source.kernels_digest(changed))
    renamed = copy("renamed")
    (renamed / "edge_runtime/csrc/warp.c").rename(renamed / "edge_runtime/csrc/wrap.c")
    (copy("new") / "edge_runtime/csrc/new.h").touch()
    seen |= {wheel_source.kernels_digest(renamed), wheel_source.kernels_digest(tmp_path / "new")}
    assert len(seen) == 6


def test_missing_headers_are_named(monkeypatch, capsys, tmp_path):
    """A Python without its headers cannot compile anything, and says what to install."""
    monkeypatch.setattr(sysconfig, "get_path", lambda *_: str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "pc", "6", "1", "x86_64")))
    monkeypatch.setattr(sysconfig, "get_config_var", lambda _: 0)
    assert build.main([]) == 5
    assert "python3-dev" in capsys.readouterr().err


def test_no_compiler_is_an_error_of_the_environment(monkeypatch):
    """Outside .venv-wheels there is no zig: the error says which command installs it."""
    monkeypatch.setattr(wheel_tools.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(WheelError, match="ziglang") as caught:
        wheel_tools.zig()
    assert caught.value.exit_code == 5
    assert "make wheels" in caught.value.hint


def test_no_network_is_said_with_pips_last_words(monkeypatch, tmp_path):
    """When pip cannot fetch the tools its last lines are shown, and no half-made environment passes for a whole one."""
    monkeypatch.setattr(wheel_tools, "ENVIRONMENT", tmp_path / "tools")
    answers = iter([(0, ""), (1, "line\n" * 50 + "ERROR: Could not find a version that satisfies abi3audit\n")])

    def run(command, **_):
        code, text = next(answers)
        (tmp_path / "tools").mkdir(exist_ok=True)
        return subprocess.CompletedProcess(command, code, stdout="", stderr=text)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(WheelError, match="satisfies abi3audit") as caught:
        wheel_tools.enter([])
    assert caught.value.exit_code == 5
    assert "network" in caught.value.hint
    assert len(str(caught.value).splitlines()) <= wheel_tools.TAIL + 1
    assert not (tmp_path / "tools" / "made").exists()


def test_pins_are_exact_and_hashed():
    """Every tool has one version, and every file of it a hash."""
    text = (FOLDER / "requirements.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    pins = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(pins) > 10
    assert all("==" in pin.split()[0] and "--hash=sha256:" in pin for pin in pins)
    wanted = (FOLDER / "requirements.in").read_text(encoding="utf-8").split()
    assert set(wanted) <= {pin.split()[0] for pin in pins}


# ---------------------------------------------------------------- sources and their date


def test_the_date_is_the_commits(checkout, monkeypatch):
    """SOURCE_DATE_EPOCH wins, then the commit's date; without git a fixed day."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert wheel_source.source_date(checkout) == 1700000000
    assert wheel_source.source_date(checkout / "sdk") == wheel_source.NO_GIT_DATE
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1600000000")
    assert wheel_source.source_date(checkout) == 1600000000


@pytest.mark.parametrize("date", ["yesterday", "-1", "1e9", "0", "99999999999"])
def test_an_impossible_date_is_a_usage_error(monkeypatch, tmp_path, date):
    """Only whole seconds, and only those that a ZIP can say."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", date)
    with pytest.raises(WheelError, match="SOURCE_DATE_EPOCH") as caught:
        wheel_source.source_date(tmp_path)
    assert caught.value.exit_code == 2


def test_the_working_tree_as_it_is(checkout, tmp_path):
    """New files are taken; deleted, ignored ones and what no wheel is made of are not. What differs is named."""
    wheel_source.copy_tree(checkout, tmp_path / "copy")
    assert files(tmp_path / "copy") == {"sdk/kept.py", "sdk/new.py", "setup.cfg"}
    assert wheel_source.changed(checkout) == ["sdk/deleted.py", "sdk/new.py"]


def test_a_commit_as_it_was(checkout, tmp_path):
    """With --commit the working tree counts for nothing."""
    wheel_source.copy_commit(checkout, "HEAD", tmp_path / "copy")
    assert files(tmp_path / "copy") == {"sdk/kept.py", "sdk/deleted.py", "setup.cfg"}


def test_no_git_copies_all_but_what_is_made(tmp_path):
    """A source archive has no list: extensions built in place and caches stay behind."""
    for name in ("sdk/a.py", "sdk/__pycache__/a.pyc", "edge_runtime/_native.abi3.so", "setup.py", "tests/test_a.py"):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text("x", encoding="utf-8")
    wheel_source.copy_tree(tmp_path / "root", tmp_path / "copy")
    assert files(tmp_path / "copy") == {"sdk/a.py", "setup.py"}


def test_an_unknown_commit_is_a_usage_error(checkout):
    """A typing error in --commit is not silently HEAD."""
    with pytest.raises(WheelError, match="no such commit: v9") as caught:
        wheel_source.commit(checkout, "v9")
    assert caught.value.exit_code == 2


def test_a_git_that_does_not_answer_is_an_error(tmp_path):
    """A broken checkout must not be built as if it were none: its date would be another."""
    (tmp_path / ".git").write_text("gitdir: nowhere\n", encoding="utf-8")
    with pytest.raises(WheelError, match="git does not answer"):
        wheel_source.copy_tree(tmp_path, tmp_path / "copy")


# ---------------------------------------------------------------- the same bytes


def test_bytes_depend_on_contents_alone(tmp_path):
    """Another order, other dates and modes of what setuptools wrote: the same wheel."""
    first = plain_wheel(tmp_path / "first.zip")
    with zipfile.ZipFile(first) as archive:
        turned = {name: archive.read(name) for name in reversed(archive.namelist())}
    second = plain_wheel(tmp_path / "second.zip", members=turned, date=(2031, 7, 9, 1, 2, 4))
    repack(first, tmp_path / "a.whl", 1700000000)
    repack(second, tmp_path / "b.whl", 1700000000)
    assert (tmp_path / "a.whl").read_bytes() == (tmp_path / "b.whl").read_bytes()
    repack(first, tmp_path / "c.whl", 1700000002)
    assert (tmp_path / "a.whl").read_bytes() != (tmp_path / "c.whl").read_bytes()


def test_repacked_wheel_is_a_wheel(tmp_path, checks):
    """RECORD is last and true, metadata next to it, all of one date in UTC."""
    path = tmp_path / f"facegate-1.0-{HOST.tag}.whl"
    repack(plain_wheel(tmp_path / "first.zip"), path, 1700000000)
    assert checks.archive_faults(path, HOST) == []
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert {info.date_time for info in archive.infolist()} == {(2023, 11, 14, 22, 13, 20)}
        rows = list(csv.reader(io.StringIO(archive.read(names[-1]).decode())))
    assert names[-3:] == [f"facegate-1.0.dist-info/{name}" for name in ("METADATA", "WHEEL", "RECORD")]
    assert [row[0] for row in rows] == names


@pytest.mark.parametrize(
    ("name", "member", "content", "fault"),
    [
        (f"facegate-1.0-{TARGETS['aarch64'].tag}.whl", None, b"", "WHEEL does not say"),
        ("facegate-1.0-cp311-cp311-linux_x86_64.whl", None, b"", "its name does not say"),
        (None, "facegate_edge/other.so", b"\x7fELF", "its native modules are"),
        (None, "facegate/a.pyc", b"", "does not belong"),
        (None, "tests/test_a.py", b"", "does not belong"),
        (None, "facegate-1.0.dist-info/WHEEL", b"Root-Is-Purelib: true\n", "Root-Is-Purelib: false"),
    ],
)
def test_archives_that_are_refused(tmp_path, checks, name, member, content, fault):
    """A wheel of another machine, of one Python, with more than one module, with what is no source of a program."""
    source = plain_wheel(tmp_path / "plain.zip")
    if member:
        with zipfile.ZipFile(source) as archive:
            members = {item: archive.read(item) for item in archive.namelist()}
        plain_wheel(source, members={**members, member: content})
    path = tmp_path / (name or f"facegate-1.0-{HOST.tag}.whl")
    repack(source, path, 1700000000)
    target = TARGETS["aarch64"] if name and "aarch64" in name else HOST
    assert any(fault in said for said in checks.archive_faults(path, target))


def test_changed_bytes_are_noticed(tmp_path, checks):
    """A file that is not what RECORD says, and an archive that is cut off."""
    path = tmp_path / f"facegate-1.0-{HOST.tag}.whl"
    repack(plain_wheel(tmp_path / "first.zip"), path, 1700000000)
    with zipfile.ZipFile(path) as archive:
        members = {info: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for info, data in members.items():
            archive.writestr(info, data.replace(b"x = 1", b"x = 2"))
    assert checks.archive_faults(path, HOST) == ["its RECORD does not list its files as they are, in their order"]
    path.write_bytes(path.read_bytes()[:-30])
    assert "no readable ZIP" in checks.archive_faults(path, HOST)[0]


# ---------------------------------------------------------------- the module

GOOD = "int PyInit__native(void);\nint PyInit__native(void) { return 7; }\n"
HARD = ["-shared", "-fPIC", "-s", "-Wl,-z,relro,-z,now,-z,noexecstack"]


def compiled(folder: Path, code: str, options: list[str], compiler: list[str] | None = None) -> Path:
    """A shared object of `code`."""
    (folder / "module.c").write_text(code, encoding="utf-8")
    done = subprocess.run(  # noqa: S603 - the system's compiler, or zig
        [*(compiler or ["cc"]), *options, "module.c", "-o", "module.so"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "module.so"


needs_cc = pytest.mark.skipif(
    shutil.which("cc") is None or os.uname().machine != "x86_64", reason="needs a C compiler for x86_64"
)


@needs_cc
def test_a_module_that_asks_for_little(tmp_path, elf):
    """Stripped, bound at once, no path of its own: nothing is found."""
    assert elf.faults(compiled(tmp_path, GOOD, HARD), HOST) == []


@needs_cc
@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["-Wl,-z,execstack"], "stack is executable"),
        (["-Wl,-z,norelro"], "no RELRO"),
        (["-Wl,-z,lazy"], "bound late"),
        (["-Wl,-rpath,/home/somebody/lib"], "folder of its own"),
        (["-Wl,--no-as-needed", "-ldl", "-Wl,--no-as-needed", "-lgcc_s"], "it needs libgcc_s.so.1"),
        (["-Dextra=1"], "it exports helper"),
    ],
)
def test_modules_that_are_refused(tmp_path, elf, options, fault):
    """One property at a time: what a device must not be given."""
    code = GOOD + ("int helper(void); int helper(void) { return 1; }\n" if "extra" in options[0] else "")
    found = elf.faults(compiled(tmp_path, code, [*HARD, *options]), HOST)
    assert any(fault in said for said in found), found


@needs_cc
def test_symbols_left_in_are_found(tmp_path, elf):
    """A module that was not stripped tells where it was built."""
    found = elf.faults(compiled(tmp_path, GOOD, [option for option in HARD if option != "-s"]), HOST)
    assert found == ["it is not stripped: it has .symtab"]


@needs_cc
def test_a_module_of_another_machine(tmp_path, elf):
    """What is built for the PC is not taken for a device's."""
    (fault,) = elf.faults(compiled(tmp_path, GOOD, HARD), TARGETS["aarch64"])
    assert "not a shared object for EM_AARCH64" in fault


def test_a_symbol_newer_than_the_floor(tmp_path, elf, zig):
    """log2f of glibc 2.27 is good from 2.27 on; for an older floor it is refused."""
    code = GOOD.replace("return 7", "return (int)log2f(7)").replace("int PyInit", "#include <math.h>\nint PyInit", 1)
    module = compiled(tmp_path, code, ["-target", "aarch64-linux-gnu.2.28", "-O1", "-fno-builtin", *HARD, "-lm"], zig)
    target = TARGETS["aarch64"]
    assert elf.faults(module, target) == []
    older = type(target)(**{**{name: getattr(target, name) for name in target.__slots__}, "glibc": (2, 26)})
    assert elf.faults(module, older) == ["it needs GLIBC_2.27 of libm.so.6; the floor is 2.26"]


def test_neon_for_everybody_is_refused(tmp_path, elf, zig):
    """A module of which every function may be NEON says so in its attributes."""
    base = [*HARD, "-O3", "-target", "arm-linux-gnueabihf.2.31"]
    assert elf.faults(compiled(tmp_path, GOOD, [*base, *TARGETS["armv7l"].cpu], zig), TARGETS["armv7l"]) == []
    found = elf.faults(compiled(tmp_path, GOOD, [*base, "-mcpu=generic+v7a"], zig), TARGETS["armv7l"])
    assert found == ["it says that it needs 32 floating-point registers", "it says that it needs NEON"]


# ---------------------------------------------------------------- instructions

# Encodings by an assembler: the instruction, as halfwords (Thumb) or words.
THUMB = {
    "vadd.i32 q0, q0, q1": ((0xEF20, 0x0842), True),
    "vmull.s8 q0, d0, d1": ((0xEF80, 0x0C01), True),
    "vmull.u8 q0, d0, d1": ((0xFF80, 0x0C01), True),
    "vld1.8 {d0}, [r0]": ((0xF920, 0x070F), True),
    "vst1.8 {d0}, [r0]": ((0xF900, 0x070F), True),
    "vdup.32 q0, r0": ((0xEEA0, 0x0B10), True),
    "vadd.f64 d0, d0, d1": ((0xEE30, 0x0B01), False),
    "vldr d0, [r0]": ((0xED90, 0x0B00), False),
    "vmov r0, r1, d0": ((0xEC51, 0x0B10), False),
    "vmov.32 d0[0], r0": ((0xEE00, 0x0B10), False),
    "ldr.w r0, [r1]": ((0xF8D1, 0x0000), False),
    "pld [r0]": ((0xF890, 0xF000), False),
    "bl .": ((0xF7FF, 0xFFFE), False),
}


@pytest.mark.parametrize("name", THUMB)
def test_neon_is_told_from_vfp(instructions, name):
    """Advanced SIMD is found, floating point and loads are not; a 16-bit instruction before shifts nothing."""
    halves, neon = THUMB[name]
    nop = struct.pack("<H", 0xBF00)
    code = nop + struct.pack("<HH", *halves) + nop
    assert list(instructions.better(code, "t")) == ([2] if neon else [])


@pytest.mark.parametrize(
    ("word", "found"),
    [
        (0x4E829420, True),  # sdot v0.4s, v1.16b, v2.16b
        (0x6E829420, True),  # udot v0.4s, v1.16b, v2.16b
        (0x4F82E020, True),  # sdot v0.4s, v1.16b, v2.4b[0]
        (0x4EA29420, False),  # mla v0.4s, v1.4s, v2.4s
        (0x4E22C020, False),  # smull2 v0.8h, v1.16b, v2.16b
        (0xD65F03C0, False),  # ret
    ],
)
def test_dot_products_are_found(instructions, word, found):
    """SDOT and UDOT, which a Cortex-A72 lacks."""
    assert list(instructions.better(struct.pack("<I", word), "x")) == ([0] if found else [])


NEON = """
#include <arm_neon.h>
int PyInit__native(void);
__attribute__((target("neon,d32"), noinline)) static int NAME(const signed char *a)
{ return vgetq_lane_s32(vpaddlq_s16(vmull_s8(vld1_s8(a), vld1_s8(a + 8))), 0); }
int PyInit__native(void) { static volatile signed char x[16]; return NAME((const signed char *)x); }
"""


def test_neon_only_in_functions_that_say_so(tmp_path, instructions, zig):
    """The same function is good as sum_neon and refused as sum: its name says that it must be asked for."""
    options = [*TARGETS["armv7l"].compiler, "-O2", "-shared", "-fPIC"]
    module = compiled(tmp_path, NEON.replace("NAME", "sum_neon"), options, zig)
    assert instructions.unguarded(module, TARGETS["armv7l"]) == []
    module = compiled(tmp_path, NEON.replace("NAME", "sum"), options, zig)
    assert instructions.unguarded(module, TARGETS["armv7l"]) == ["sum"]


@pytest.mark.parametrize("name", TARGETS)
def test_pyconfig_is_true_of_every_target(tmp_path, zig, name):
    """Its sizes are the compiler's for the machine that is built for; a host's 8-byte long fails on 32 bits."""
    code = '#include "pyconfig.h"\n_Static_assert(SIZEOF_LONG == EXPECTED, "long");\n'
    expected = 4 if name == "armv7l" else 8
    options = ["-c", f"-I{FOLDER}", *TARGETS[name].compiler]
    compiled(tmp_path, code, [*options, f"-DEXPECTED={expected}"], zig)
    with pytest.raises(AssertionError, match="static assertion failed"):
        compiled(tmp_path, code, [*options, f"-DEXPECTED={12 - expected}"], zig)


# ---------------------------------------------------------------- the build


def test_nothing_of_the_host_reaches_the_compiler(tmp_path, monkeypatch):
    """Its flags, its compiler and its paths stay outside; the folder that is built in is mapped away."""
    monkeypatch.setenv("CFLAGS", "-march=native")
    monkeypatch.setenv("CC", "gcc")
    made = wheel_backend.environment(HOST, tmp_path, 1700000000, tmp_path / "cache", tmp_path / "zig")
    assert not {"CC", "CFLAGS", "LDFLAGS", "LD_LIBRARY_PATH"} & set(made)
    assert made["FACEGATE_WERROR"] == "1"
    values = wheel_backend.configuration(HOST, tmp_path / "zig", tmp_path / "headers", tmp_path / "work")
    assert f"-ffile-prefix-map={tmp_path / 'work'}=." in values["CFLAGS"]
    assert "native" not in json.dumps(values)


def test_a_failing_compiler_is_shown_with_its_last_lines(tmp_path, monkeypatch):
    """Not a traceback of the build backend: which wheel, and what the compiler said."""
    root = tmp_path / "source"
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        root.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, root)
    monkeypatch.setattr(wheel_backend, "zig", lambda: Path("/bin/false"))
    with pytest.raises(WheelError, match="the wheel of x86_64 cannot be built") as caught:
        wheel_backend.build_wheel(HOST, root, tmp_path / "work", 1700000000, tmp_path / "cache")
    assert caught.value.exit_code == 70
    assert 2 <= len(str(caught.value).splitlines()) <= wheel_tools.TAIL + 1


# ---------------------------------------------------------------- the wheels that are there


@pytest.mark.parametrize("name", TARGETS)
def test_wheels_in_the_wheelhouse_are_good(name):
    """All checks again, auditwheel's and abi3audit's among them, on what lies in wheelhouse/; its sums are true."""
    target = TARGETS[name]
    wheels = sorted(WHEELHOUSE.glob(f"facegate-*-{target.platform}.whl"))
    if not wheels or not (TOOLS / "made").exists():
        pytest.skip(f"no wheel of {name} here: make wheels TARGETS={name}")
    done = subprocess.run(  # noqa: S603 - our own program
        [TOOLS / "bin" / "python", FOLDER / "build.py", "--check", name], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{wheels[-1].name}: good" in done.stdout
    sums = dict(reversed(line.split()) for line in (WHEELHOUSE / "SHA256SUMS").read_text(encoding="utf-8").splitlines())
    assert sums[wheels[-1].name] == build.sha256(wheels[-1])
    assert json.loads(wheels[-1].with_name(wheels[-1].name + ".json").read_text())["sha256"] == build.sha256(wheels[-1])


def test_a_tampered_wheel_fails_the_check(tmp_path):
    """`--check` ends with 1 and says what is wrong."""
    wheels = sorted(WHEELHOUSE.glob("facegate-*_x86_64.whl"))
    if not wheels or not (TOOLS / "made").exists():
        pytest.skip("no wheel of x86_64 here: make wheels")
    bad = tmp_path / wheels[0].name
    with zipfile.ZipFile(wheels[0]) as archive, zipfile.ZipFile(bad, "w") as changed:
        for info in archive.infolist():
            data = archive.read(info)
            changed.writestr(info, data + b"\n" if info.filename == "facegate/__init__.py" else data)
    done = subprocess.run(  # noqa: S603 - our own program
        [TOOLS / "bin" / "python", FOLDER / "build.py", "--check", "x86_64", "--output", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "RECORD" in done.stderr
