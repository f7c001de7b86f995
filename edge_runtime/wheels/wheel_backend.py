"""One wheel by the project's own build backend, which is told that it runs for another machine.

`_PYTHON_SYSCONFIGDATA_NAME` and `_PYTHON_HOST_PLATFORM` are how CPython's own cross builds say it: the first names a
module with the values that setuptools would otherwise take from the host's Python (its compiler, its flags, its
headers). So nothing of the host's configuration gets into a wheel, and build_native.py stays the one place that says
how the kernels are compiled.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from wheel_targets import WheelError, WheelTarget
from wheel_tools import tail, zig

PYCONFIG = Path(__file__).resolve().with_name("pyconfig.h")
# Full RELRO and a stack that is not executed; --build-id is a hash of the contents.
LINK = ("-shared", "-Wl,-z,relro,-z,now,-z,noexecstack", "-Wl,--build-id=sha1", "-Wl,--gc-sections")
STRIP = ("-s",)


@dataclass(frozen=True, slots=True)
class Built:
    """What a build made.

    Attributes:
        wheel: as setuptools wrote it.
        unstripped: the same module with its symbols, for looking at its instructions function by function.
    """

    wheel: Path
    unstripped: Path


def configuration(target: WheelTarget, compiler: Path, headers: Path, work: Path) -> dict[str, object]:
    """The values of sysconfig for `target`."""
    command = shlex.join([str(compiler), "cc", *target.compiler])
    return {
        "CC": command,
        "CXX": command,
        "CFLAGS": shlex.join(["-DNDEBUG", f"-ffile-prefix-map={work}=."]),
        "CCSHARED": "-fPIC",
        "LDSHARED": shlex.join([*shlex.split(command), *LINK, *STRIP]),
        "LDCXXSHARED": shlex.join([*shlex.split(command), *LINK, *STRIP]),
        "AR": shlex.join([str(compiler), "ar"]),
        "ARFLAGS": "rcs",
        "EXT_SUFFIX": ".cpython-310-linux.so",  # setuptools makes .abi3.so of it, only if it begins so
        "SHLIB_SUFFIX": ".so",
        "SOABI": "",
        "INCLUDEPY": str(headers),
        "CONFINCLUDEPY": str(headers),
        "LIBDIR": "",
        "Py_ENABLE_SHARED": 0,
        "Py_DEBUG": 0,
        "Py_GIL_DISABLED": 0,
        "prefix": str(headers),
        "exec_prefix": str(headers),
    }


def environment(target: WheelTarget, settings: Path, epoch: int, cache: Path, local_cache: Path) -> dict[str, str]:
    """The whole environment of the backend: nothing of ours (CC, CFLAGS, PYTHONPATH, ...) is passed on."""
    return {
        "PATH": os.defpath,
        "HOME": str(settings),
        "LC_ALL": "C.UTF-8",
        "TMPDIR": str(settings),
        "PYTHONPATH": str(settings),
        "PYTHONDONTWRITEBYTECODE": "1",
        "DIST_EXTRA_CONFIG": str(settings / "setup.cfg"),
        "SOURCE_DATE_EPOCH": str(epoch),
        "FACEGATE_WERROR": "1",
        "ZIG_GLOBAL_CACHE_DIR": str(cache),
        "ZIG_LOCAL_CACHE_DIR": str(local_cache),
        "_PYTHON_SYSCONFIGDATA_NAME": "_facegate_sysconfigdata",
        "_PYTHON_HOST_PLATFORM": f"linux-{target.name}",
    }


def build_wheel(target: WheelTarget, sources: Path, work: Path, epoch: int, cache: Path) -> Built:
    """Build the wheel of `target` from a copy of `sources`; everything but zig's cache is written to `work`."""
    source, settings, made, output = work / "source", work / "settings", work / "made", work / "wheel"
    headers = settings / "headers"
    settings.mkdir(parents=True)
    output.mkdir()
    shutil.copytree(sources, source)
    # Python.h includes "pyconfig.h", which is looked for beside it first: so the headers are copied and ours is beside.
    shutil.copytree(sysconfig.get_path("include"), headers, ignore=shutil.ignore_patterns("pyconfig*.h"))
    shutil.copy(PYCONFIG, headers)
    compiler = zig()
    values = configuration(target, compiler, headers, work)
    (settings / "_facegate_sysconfigdata.py").write_text(f"build_time_vars = {values!r}\n", encoding="utf-8")
    (settings / "setup.cfg").write_text(
        f"[bdist_wheel]\nplat_name = {target.platform}\n[build]\nbuild_base = {made}\n", encoding="utf-8"
    )
    variables = environment(target, settings, epoch, cache, work / "zig")
    backend = "import sys\nfrom setuptools import build_meta\nbuild_meta.build_wheel(sys.argv[1])\n"
    _run([sys.executable, "-c", backend, str(output)], source, variables, f"the wheel of {target.name} cannot be built")
    wheels, objects = list(output.glob("*.whl")), sorted(made.rglob("*.o"))
    if len(wheels) != 1 or not objects:
        raise WheelError(f"the build backend left {len(wheels)} wheels and {len(objects)} objects", exit_code=70)
    unstripped = work / "unstripped.so"
    link = [str(compiler), "cc", *target.compiler, *LINK, *map(str, objects), "-lm", "-o", str(unstripped)]
    _run(link, work, variables, f"the kernels of {target.name} cannot be linked")
    return Built(wheel=wheels[0], unstripped=unstripped)


def _run(command: list[str], folder: Path, variables: dict[str, str], failed: str) -> None:
    """Run `command`; if it fails, say so with the last that it printed."""
    done = subprocess.run(  # noqa: S603
        command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise WheelError(
            f"{failed}. The last that was said:\n{tail(done.stdout)}",
            hint="warnings are errors here: see the compiler's first error above",
            exit_code=70,
        )
