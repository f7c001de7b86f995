# ruff: noqa: PLC0415, PTH115, PTH120, SIM115, T201 - a program beside the package that it runs, which speaks in strings
"""A program: runs an installer from its package, and kills it at each change of the file system, one after the other.

    python -I killer.py kill PACKAGE ROOT SCRATCH STRIDE -- ARGUMENTS
    python -I killer.py order PACKAGE ROOT -- ARGUMENTS

`kill` copies ROOT to SCRATCH, forks, and lets an audit hook (PEP 578) kill the child with SIGKILL before its Nth
change; then it looks at what is left, runs the installer again, and goes on with N + 1 until the child ends by
itself. Prints one JSON line a kill. Every rename and every link counts; of files that are opened, made or removed,
which are many and alike, every STRIDEth.

`order` notes what was written and not yet synced when the link `current` is swapped, and prints it.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

CHANGES = {"os.rename", "os.symlink", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.truncate", "shutil.rmtree"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def changed(event: str, args: tuple, root: str) -> bool:
    """Whether an audit event is about to change something below the root."""
    if event == "open":
        return str(args[0]).startswith(root) and bool((args[2] or 0) & WRITING)
    return (event in CHANGES or event == "os.chmod") and any(str(each).startswith(root) for each in args[:2])


def install(arguments: list[str]) -> int:
    """Run the installer, without making bytecode: that is files like others, and most of the time."""
    from facegate_installer import _cli, _unpack

    _unpack._compile = lambda *_: None
    return _cli.main(arguments)


def child(arguments: list[str], root: str, at: int | None, stride: int) -> tuple[int, int]:
    """Fork and run; kill at change number `at`. Returns wait status and how many changes there were."""
    reader, writer = os.pipe()
    process = os.fork()
    if process:
        os.close(writer)
        with os.fdopen(reader) as file:
            said = file.read()
        return os.waitpid(process, 0)[1], int(said or -1)
    count, opens = [0], [0]

    def hook(event: str, args: tuple) -> None:
        if changed(event, args, root):
            if event not in ("os.rename", "os.symlink"):
                opens[0] += 1
                if opens[0] % stride:
                    return
            if count[0] == at:
                os.kill(os.getpid(), signal.SIGKILL)
            count[0] += 1

    sys.stdout = sys.stderr = Path(os.devnull).open("w")
    sys.addaudithook(hook)
    code = install(arguments)
    os.write(writer, str(count[0]).encode())
    os._exit(code)


def look(root: Path) -> dict[str, object]:
    """Which version is in use, and whether it is whole."""
    from facegate_installer._install import damaged_files
    from facegate_installer._layout import Layout

    layout = Layout(root)
    version = layout.current()
    if version is None:
        return {"version": None, "damaged": [], "left": len(layout.leftovers())}
    return {
        "version": version.info.version,
        "damaged": damaged_files(version),
        "left": len(layout.leftovers()),
    }


def kill(root: Path, scratch: Path, stride: int, arguments: list[str]) -> None:
    """Kill at each change. What is on the disk is `order`'s business: here nothing is synced, which takes most time."""
    from facegate_installer import _disk

    os.fsync = lambda _: None
    _disk._sync_file_system = lambda _: True
    at = 0
    while True:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(root, scratch, symlinks=True)
        given = [*arguments, "--root", str(scratch)]
        status, _ = child(given, str(scratch), at, stride)
        killed = os.WIFSIGNALED(status)
        after = look(scratch)
        status, _ = child(given, str(scratch), None, stride)
        again = look(scratch)
        print(json.dumps({"at": at, "killed": killed, "after": after, "code": os.WEXITSTATUS(status), "again": again}))
        if not killed:
            return
        at += 1


def order(root: Path, arguments: list[str]) -> None:
    """What is not on the disk when the link is swapped."""
    from facegate_installer import _disk

    dirty: set[str] = set()
    unsynced: list[str] = []
    real = os.fsync

    def note(path: object) -> None:
        dirty.add(os.path.realpath(str(path)))

    def hook(event: str, args: tuple) -> None:
        if not changed(event, args, str(root)):
            return
        if event == "os.rename":
            source, target = str(args[0]), str(args[1])
            if target == str(root / "opt/facegate/current"):
                unsynced.extend(sorted(each for each in dirty if "/versions" in each))
            moved = {each for each in dirty if each == source or each.startswith(source + "/")}
            dirty.difference_update(moved)
            dirty.update(target + each[len(source) :] for each in moved)
            dirty.update({os.path.dirname(source), os.path.dirname(target)})
        elif event in ("os.remove", "os.rmdir"):
            dirty.discard(str(args[0]))
            dirty.add(os.path.dirname(str(args[0])))
        elif event == "shutil.rmtree":
            dirty.difference_update({each for each in dirty if each.startswith(str(args[0]))})
            dirty.add(os.path.dirname(str(args[0])))
        elif event == "os.symlink":
            dirty.add(os.path.dirname(str(args[1])))
        else:
            note(args[0])
            dirty.add(os.path.dirname(os.path.realpath(str(args[0]))))

    def fsync(descriptor: int) -> None:
        real(descriptor)
        dirty.discard(os.readlink(f"/proc/self/fd/{descriptor}"))

    os.fsync = fsync
    _disk._sync_file_system = lambda _: False
    sys.addaudithook(hook)
    stdout, sys.stdout = sys.stdout, Path(os.devnull).open("w")
    code = install([*arguments, "--root", str(root)])
    sys.stdout = stdout
    left = sorted(each for each in dirty if not each.endswith("/.lock"))  # which holds nothing
    print(json.dumps({"code": code, "unsynced": unsynced, "dirty": left}))


def main() -> None:
    """See the module."""
    what, package, root, *rest = sys.argv[1:]
    sys.path.insert(0, package)
    sys.dont_write_bytecode = True
    split = rest.index("--")
    if what == "kill":
        kill(Path(root), Path(rest[0]), int(rest[1]), rest[split + 1 :])
    else:
        order(Path(root), rest[split + 1 :])


main()
