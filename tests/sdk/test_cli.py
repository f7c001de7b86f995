"""The command line: what it answers, in text and as JSON, and what it exits with."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
import types
from importlib.metadata import EntryPoint

import click
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from PIL import Image

from facegate import Policy, SigningKey, cli, verify_decision
from facegate.cli import _commands, _lazy, main
from facegate.errors import BundleFormatError
from facegate_convert._bundle_writer import write_bundle
from facegate_edge import _keys
from facegate_edge._keys import VerifyKey

SIGNER = SigningKey.from_seed(bytes(range(32)))


@pytest.fixture
def run(capsys):
    """Runs the command line in this process; returns exit code, stdout and stderr."""

    def call(*args):
        code = main([str(a) for a in args])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def trust(tmp_path):
    """The signer's public key as a file."""
    path = tmp_path / "signer.pub"
    SIGNER.verify_key.save(path)
    return path


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    """Nothing of the caller's environment, and a folder of its own."""
    for name in ("FACEGATE_PASSPHRASE", "FACEGATE_PASSPHRASE_FILE", "FACEGATE_TRUST", "FACEGATE_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


# --- the frame -----------------------------------------------------------------------------------------------------


def test_help_lists_commands_and_exit_codes(run):
    """--help names the commands and what the exit codes mean."""
    code, out, _ = run("--help")
    assert code == 0
    for word in ("try", "bundle", "keys", "decision", "doctor", "bench", "completion", "not trusted", "--json"):
        assert word in out


def leaves(group, path=()):
    """All leaf commands with their path, loaded."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


def test_every_command_has_help_and_json(run):
    """Every leaf command loads, explains itself and takes --json."""
    found = list(leaves(_commands.root))
    assert len(found) >= 9
    for path, command in found:
        code, out, _ = run(*path, "--help")
        assert code == 0
        assert command.help
        assert "--json" in out


def test_the_static_help_is_the_commands_own():
    """The one-line help that is shown without loading a command says what the command itself says."""
    for path, command in leaves(_commands.root):
        group = _commands.root if len(path) == 1 else _commands.root._lazy[path[0]]
        entry = group._lazy.get(path[-1])
        if entry is not None and entry.target:
            assert command.short_help == entry.help, path


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["bogus"], 2),
        (["bundle", "bogus"], 2),
        (["bundle", "verify"], 2),
        (["bundle", "verify", "x.fgb"], 2),
        (["bundle", "verify", "x.fgb", "--development"], 3),
        (["keys", "show", "none.pub"], 3),
        (["completion", "tcsh"], 2),
        (["--bogus"], 2),
        (["decision", "verify", "x"], 2),
        (["try", "--bundle", "x.fgb", "--development", "--enroll", "nonsense", "p.jpg"], 2),
        (["try", "--bundle", "x.fgb", "--development", "--enroll", "a b=x.jpg", "p.jpg"], 2),
        (["try", "--bundle", "x.fgb", "--development", "--enroll", "a=x.jpg"], 2),
    ],
)
def test_errors_have_their_codes_in_text_and_json(run, args, code):
    """The same error goes to stderr as text, and to stdout as one JSON object, with the same exit code."""
    text = run(*args)
    assert (text[0], text[1]) == (code, "")
    assert text[2].startswith("error: ")
    machine = run(*args, "--json")
    assert (machine[0], machine[2]) == (code, "")
    error = json.loads(machine[1])["error"]
    assert error["exit_code"] == code
    assert error["message"] in text[2]
    assert set(error) == {"type", "message", "hint", "exit_code"}


@pytest.mark.parametrize("args", [[], ["bundle"], ["keys"]])
def test_a_missing_command_is_an_error_with_a_hint(run, args):
    """`facegate bundle` alone exits 2, says what is missing and where the help is."""
    assert run(*args) == (
        2,
        "",
        f"error: Missing command.\nhint: see `{' '.join(['facegate', *args])} --help`\n",
    )


def test_too_little_memory_is_no_bug(run, monkeypatch):
    """A machine that is too small for the photographs is told so (5)."""

    @click.command()
    def hungry():
        raise MemoryError

    monkeypatch.setattr(_commands.root, "get_command", lambda *_: hungry)
    code, _, err = run("hungry")
    assert code == 5
    assert "memory" in err


def test_a_bug_asks_for_a_report_and_shows_no_values(run, monkeypatch):
    """An unexpected exception exits 70 with its type only; the traceback comes on request."""

    @click.command()
    def broken():
        raise KeyError("secret-path-and-value")

    monkeypatch.setattr(_commands.root, "get_command", lambda *_: broken)
    code, out, err = run("broken")
    assert (code, out) == (70, "")
    assert "report" in err
    assert "KeyError" in err
    assert "secret" not in err
    assert "Traceback" not in err
    monkeypatch.setenv("FACEGATE_TRACEBACK", "1")
    assert "secret" in run("broken")[2]


def test_a_negative_answer_exits_1(run, monkeypatch):
    """A command that did its work and says no leaves with 1."""

    @click.command()
    @click.pass_obj
    def no(output):
        output.emit({"fit": False}, "no")
        click.get_current_context().exit(1)

    monkeypatch.setattr(_commands.root, "get_command", lambda *_: _lazy._with_json(no))
    assert run("no") == (1, "no\n", "")
    code, out, _ = run("no", "--json")
    assert (code, json.loads(out)) == (1, {"fit": False})


MAIN = "import sys; from facegate.cli import main; sys.exit(main({!r}))"


def python(code: str, **kwargs):
    """A process that runs the code."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code], **(streams | kwargs))  # noqa: S603 - our own interpreter


def test_interrupted():
    """Ctrl-C ends with 130 and without a traceback."""
    code = (
        "import signal, sys, time, click\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # what is started in the background ignores it
        "from facegate.cli import main, _commands\n"
        "@click.command()\n"
        "def wait():\n    print('ready', flush=True); time.sleep(30)\n"
        "_commands.root.get_command = lambda *_: wait\n"
        "sys.exit(main(['wait']))\n"
    )
    with python(code) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err


@pytest.mark.parametrize("args", [["--help"], ["completion", "fish"], ["completion", "fish", "--json"]])
def test_a_reader_that_goes_away(args):
    """A closed pipe (`facegate ... | head -0`) ends quietly."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", f"import sys; from facegate.cli import main; sys.exit(main({args!r}))"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_output_without_room():
    """A full disk behind the output is the environment's fault (5), not a bug."""
    for args in (["completion", "fish"], ["completion", "fish", "--json"], ["--help"]):
        with open("/dev/full", "w") as full, python(MAIN.format(args), stdout=full) as process:  # noqa: PTH123
            _, err = process.communicate(timeout=60)
        assert process.returncode == 5
        assert "Traceback" not in err


@pytest.mark.parametrize("args", [["completion", "fish"], ["bogus"], ["bogus", "--json"]])
def test_closed_streams(args):
    """Without stdout and stderr (`>&- 2>&-`) a command ends with its own code."""
    code = f"import sys; sys.stdout = sys.stderr = None; {MAIN.format(args)}"
    with python(code) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (2 if "bogus" in args else 0, "", "")


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict"])
def test_names_that_the_output_cannot_say(encoding):
    """A file's name that is no text in the output's encoding is shown escaped."""
    emit = (
        "from facegate.cli._output import Output; Output().emit({}, 'caf\\xe9 \\udcff'); Output().progress('\\udcff')"
    )
    with python(emit, env=os.environ | {"PYTHONIOENCODING": encoding}, encoding="utf-8") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out in ("café \\udcff\n", "caf\\xe9 \\udcff\n")
    assert err == "\\udcff\n"


def test_the_end_of_input_at_a_prompt(run, monkeypatch):
    """A prompt without an answer is a usage error, not an interruption."""

    @click.command()
    def ask():
        click.prompt("Name")

    monkeypatch.setattr(_commands.root, "get_command", lambda *_: ask)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert run("ask")[0] == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(run, shell):
    """Each shell gets a script that calls facegate back."""
    code, out, _ = run("completion", shell)
    assert code == 0
    assert "_FACEGATE_COMPLETE" in out
    assert json.loads(run("completion", shell, "--json")[1])["shell"] == shell


def test_completion_itself(monkeypatch, capsys):
    """The callback completes command names from the static list."""
    monkeypatch.setenv("_FACEGATE_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "facegate bundle ")
    monkeypatch.setenv("COMP_CWORD", "2")
    main([])
    out = capsys.readouterr().out
    assert "plain,verify" in out
    assert "plain,inspect" in out


# --- commands of other packages ------------------------------------------------------------------------------------


@pytest.fixture
def plugins(monkeypatch):
    """Pretends that these entry points are installed, and forgets what was found before."""
    groups = [_commands.root, *(g for g in _commands.root._lazy.values() if isinstance(g, click.Group))]

    def install(**targets):
        points = [EntryPoint(name.replace("__", "."), value, "facegate.commands") for name, value in targets.items()]
        monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: points)
        for group in groups:
            monkeypatch.setattr(group, "_found", None)

    return install


@click.command(short_help="A plugin.")
@click.pass_obj
def plugin(output):
    """Say hello."""
    output.progress("working")
    output.emit({"hello": "world"}, lambda: "hello world")


def module_of(monkeypatch, command):
    """A module that holds the command."""
    module = types.ModuleType("some_plugin")
    module.command = command
    monkeypatch.setitem(sys.modules, "some_plugin", module)


def test_plugins_nest_by_their_dotted_names(run, plugins, monkeypatch):
    """`bundle.build` becomes `facegate bundle build`, with --json, without knowing of it."""
    module_of(monkeypatch, plugin)
    plugins(bundle__build="some_plugin:command", hello="some_plugin:command")
    for args in (["bundle", "build"], ["hello"]):
        assert run(*args) == (0, "hello world\n", "working\n")
        code, out, err = run(*args, "--json")
        assert (code, json.loads(out), err) == (0, {"hello": "world"}, "")
    assert "build" in run("bundle", "--help")[1]
    assert "hello" in run("--help")[1]


def test_a_plugin_whose_packages_are_missing(run, plugins):
    """The converter's commands say what to install; others say that something is missing."""
    plugins(convert="no_such_package_at_all:convert", other="no_such_package_at_all:other")
    code, out, err = run("convert", "x.onnx")
    assert (code, out) == (5, "")
    assert "pip install 'facegate[convert]'" in err
    assert "no_such_package_at_all" in err
    assert run("other")[0] == 5
    assert run("--help")[0] == 0


def test_a_plugin_that_finds_its_packages_missing_when_it_runs(run, plugins, monkeypatch):
    """The wheel carries the converter's code but not its tools: its commands load, and still say what to install."""

    @click.command()
    def needy():
        __import__("no_such_package_at_all.part")

    @click.command()
    def buggy():
        __import__("facegate.no_such_module")

    module_of(monkeypatch, needy)
    plugins(convert="some_plugin:command", bundle__build="some_plugin:command", other="some_plugin:command")
    for args in (["convert"], ["bundle", "build"]):
        code, _, err = run(*args)
        assert code == 5
        assert "no_such_package_at_all" in err
        assert "pip install 'facegate[convert]'" in err
    assert run("other")[0] == 5
    module_of(monkeypatch, buggy)
    assert run("convert")[0] == 70


def test_without_the_converter_its_commands_are_not_listed(run, plugins):
    """On a device help lists what the device can do, and asking for more says what to install."""
    plugins()
    assert "convert" not in run("--help")[1].split("Exit codes")[0]
    code, _, err = run("bundle", "build")
    assert code == 5
    assert "facegate[convert]" in err


def test_attack_a_plugin_takes_the_name_of_a_command(run, plugins, monkeypatch, tmp_path):
    """An installed package cannot put itself in the place of `keys new`."""
    module_of(monkeypatch, plugin)
    plugins(keys__new="some_plugin:command", keys="some_plugin:command", completion="some_plugin:command")
    code, out, _ = run("keys", "new", "--no-passphrase", "-o", tmp_path / "k")
    assert code == 0
    assert "hello" not in out
    assert "complete" in run("completion", "fish")[1]


def test_a_plugin_that_is_no_command(run, plugins, monkeypatch):
    """An entry point that leads to something else is told as its package's fault."""
    module_of(monkeypatch, "a string")
    plugins(hello="some_plugin:command")
    assert run("hello")[0] == 5


# --- keys ----------------------------------------------------------------------------------------------------------


def test_keys_new_and_show(run, tmp_path):
    """A new key has a private half only its owner can read, and a public half that `show` shows."""
    code, out, _ = run("keys", "new", "--output", tmp_path / "k.pem", "--no-passphrase", "--json")
    made = json.loads(out)
    assert code == 0
    assert (tmp_path / "k.pem").stat().st_mode & 0o777 == 0o600
    assert VerifyKey.load(made["public"]).key_id == made["key_id"]
    for path in (tmp_path / "k.pem", made["public"]):
        shown = json.loads(run("keys", "show", path, "--json")[1])
        assert shown["key_id"] == made["key_id"]
        assert VerifyKey.from_pem(shown["pem"].encode()).key_id == made["key_id"]
        assert "PRIVATE" not in shown["pem"]
    assert run("keys", "new", "--output", tmp_path / "k.pem", "--no-passphrase")[0] == 3


def test_keys_of_both_kinds_are_shown(run, tmp_path, monkeypatch):
    """A recovery key is made and shown as one, public or private, with a passphrase or without; RSA is neither."""
    for passphrase in (None, "correct horse"):
        monkeypatch.delenv("FACEGATE_PASSPHRASE", raising=False)
        if passphrase:
            monkeypatch.setenv("FACEGATE_PASSPHRASE", passphrase)
        name = f"recovery-{passphrase is not None}.key"
        options = [] if passphrase else ["--no-passphrase"]
        code, out, _ = run("keys", "new", "--recovery", "-o", name, *options, "--json")
        made = json.loads(out)
        assert (code, made["kind"], made["passphrase"]) == (0, "recovery", passphrase is not None)
        for path, private in ((name, True), (name + ".pub", False)):
            shown = json.loads(run("keys", "show", path, "--json")[1])
            assert (shown["key_id"], shown["kind"], shown["private"]) == (made["key_id"], "recovery", private)
            assert "PRIVATE" not in shown["pem"]
            assert "recovery key" in run("keys", "show", path)[1]
    rsa = generate_private_key(65537, 2048)
    (tmp_path / "rsa.pub").write_bytes(rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "rsa").write_bytes(rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "rsa").chmod(0o600)
    for path in ("rsa", "rsa.pub"):
        code, _, err = run("keys", "show", path)
        assert code == 3
        assert "Ed25519" in err


@pytest.mark.parametrize("failing", ["", ".pub"])
def test_keys_new_leaves_nothing_half_done(run, tmp_path, monkeypatch, failing):
    """Where there is no room for one half of the pair, neither is left, and the environment is to blame (5)."""
    write = _keys.write_key_file

    def full(path, data, mode):
        if path.suffix == failing:
            raise _keys._not_written(path, OSError(errno.ENOSPC, "No space left on device"))
        write(path, data, mode)

    monkeypatch.setattr(_keys, "write_key_file", full)
    code, _, err = run("keys", "new", "-o", "k", "--no-passphrase")
    assert code == 5
    assert "No space left" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("passphrase", ["x" * 1024, "\udcff"], ids=["too long", "no UTF-8"])
def test_keys_new_refuses_a_passphrase_that_cannot_be_used(run, tmp_path, monkeypatch, passphrase):
    """What the library cannot encrypt with is told as a passphrase's fault, and no key is made."""
    monkeypatch.setenv("FACEGATE_PASSPHRASE", passphrase)
    code, _, err = run("keys", "new", "-o", "k")
    assert code == 4
    assert "passphrase" in err
    assert list(tmp_path.iterdir()) == []


def test_keys_new_with_a_passphrase_file(run, tmp_path, monkeypatch):
    """The passphrase of a file protects the key, and opens it again."""
    secret = tmp_path / "secret"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)
    monkeypatch.setenv("FACEGATE_PASSPHRASE_FILE", str(secret))
    assert run("keys", "new", "-o", "k.pem")[0] == 0
    assert SigningKey.load("k.pem", "correct horse")
    assert run("keys", "show", "k.pem")[0] == 0
    monkeypatch.delenv("FACEGATE_PASSPHRASE_FILE")
    assert run("keys", "show", "k.pem")[0] == 4


def test_an_unprotected_key_must_be_asked_for(run, monkeypatch, tmp_path):
    """Without a terminal, a passphrase or --no-passphrase no key is made."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    code, _, err = run("keys", "new", "-o", "k.pem")
    assert code == 4
    assert "--no-passphrase" in err
    assert list(tmp_path.iterdir()) == []


def test_no_command_takes_a_secret_as_an_argument():
    """No option of any command is a passphrase or a private key's content: arguments are visible to every process."""
    words = {"passphrase", "password", "secret", "credential", "token"}
    for path, command in leaves(_commands.root):
        for parameter in command.params:
            for option in parameter.opts:
                names_a_file = option.endswith("-file") and isinstance(parameter.type, click.Path)
                if option != "--no-passphrase" and not names_a_file:
                    assert not words & set(option.strip("-").split("-")), path


# --- bundles -------------------------------------------------------------------------------------------------------


def test_bundle_verify(run, bundle_path, trust, tmp_path):
    """A trusted bundle is verified, another is not, in the words of the library's errors."""
    code, out, _ = run("bundle", "verify", bundle_path, "--trust", trust, "--json")
    shown = json.loads(out)
    assert code == 0
    assert (shown["trusted"], shown["signed_by"], shown["development"]) == (True, SIGNER.key_id, False)
    assert "is trusted" in run("bundle", "verify", bundle_path, "--trust", trust)[1]
    other = tmp_path / "other.pub"
    SigningKey.generate().verify_key.save(other)
    assert run("bundle", "verify", bundle_path, "--trust", other)[0] == 4
    assert "was not checked" in run("bundle", "verify", bundle_path, "--development")[1]
    damaged = tmp_path / "damaged.fgb"
    data = bytearray(bundle_path.read_bytes())
    data[-500] ^= 1
    damaged.write_bytes(data)
    assert run("bundle", "verify", damaged, "--trust", trust)[0] in (3, 4)


def test_bundle_verify_takes_trust_from_the_environment(run, bundle_path, trust, monkeypatch):
    """FACEGATE_TRUST names the keys of a device once and for all."""
    monkeypatch.setenv("FACEGATE_TRUST", str(trust.parent))
    assert run("bundle", "verify", bundle_path)[0] == 0


def test_bundle_inspect(run, bundle_path, tmp_path, make_manifest, model_bytes):
    """Everything of the manifest is shown, and that an unsigned bundle is unsigned."""
    code, out, _ = run("bundle", "inspect", bundle_path)
    assert code == 0
    for word in ("recognizer", "arcface", "scrfd", "Apache-2.0", "0.0001", "0.6000", "emotion recognition"):
        assert word in out
    shown = json.loads(run("bundle", "inspect", bundle_path, "--json")[1])
    assert shown["manifest"]["operating_points"][0]["threshold"] == 0.5
    manifest = make_manifest("recognizer", operating_points=())
    write_bundle(tmp_path / "u.fgb", manifest, {"recognizer": model_bytes["recognizer"]}, None)
    out = run("bundle", "inspect", tmp_path / "u.fgb")[1]
    assert "NOT SIGNED" in out
    assert "never evaluated" in out


# --- decisions -----------------------------------------------------------------------------------------------------


@pytest.fixture
def signed(make_gate, pipeline):
    """A signed decision of the test gate."""
    return make_gate().recognizer.identify(pipeline.show())


def test_decision_verify(run, signed, device_key, tmp_path, monkeypatch):
    """A decision is checked as an argument, as a file and from stdin."""
    device_key.save(tmp_path / "device.pub")
    (tmp_path / "decision.jws").write_text(signed.jws + "\n")
    for given in (signed.jws, tmp_path / "decision.jws", "-"):
        with (tmp_path / "decision.jws").open() as stdin:
            monkeypatch.setattr("sys.stdin", stdin)
            code, out, _ = run("decision", "verify", given, "--key", tmp_path / "device.pub")
        assert (code, json.loads(out)) == (0, signed.decision.to_dict())
    shown = json.loads(run("decision", "verify", signed.jws, "--key", tmp_path / "device.pub", "--json")[1])
    assert shown == {"decision": signed.decision.to_dict()}


def test_decision_verify_refuses(run, signed, tmp_path, trust):
    """Another key, a changed decision, no decision at all: exit 4."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for given in (signed.jws, signed.jws[:-4] + "AAAA", "hello", "none.jws", tmp_path / "binary"):
        assert run("decision", "verify", given, "--key", trust)[0] == 4


# --- try -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def photographs(tmp_path, pipeline, monkeypatch, faces):
    """Files whose colour says who is in them, and a pipeline that sees it."""
    person, _, _ = faces
    genuine = pipeline.detect

    def detect(frame):
        identity = int(frame.data[0, 0, 0]) if frame.data.ndim == 3 else 0
        pipeline.scenes[id(frame)] = (person(identity),) if identity else ()
        pipeline.keep.append(frame)
        return genuine(frame)

    pipeline.detect = detect
    monkeypatch.setattr("facegate_edge._pipeline.Pipeline", lambda _, **__: pipeline)

    def take(name, identity):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), identity, np.uint8)).save(path)
        return path

    return take


def test_try_shows_what_would_leave(run, photographs, bundle_path, trust, tmp_path):
    """Folders and files are enrolled, probes decided about; with --json each is signed, marked and scoreless."""
    photographs("alice/1.png", 10)
    photographs("alice/2.png", 10)
    (tmp_path / "alice" / "notes.txt").write_text("no photograph")
    bob = photographs("bob.png", 20)
    probes = [photographs("probes/a.png", 10), photographs("probes/b.png", 20), photographs("probes/c.png", 30)]
    empty = photographs("empty.png", 0)
    args = ["try", "--bundle", bundle_path, "--trust", trust, "--enroll", f"alice={tmp_path / 'alice'}"]
    args += ["--enroll", f"bob={bob}", tmp_path / "probes", empty]
    code, out, err = run(*args)
    assert code == 0
    assert out.splitlines() == [
        f"{probes[0]}: match alice",
        f"{probes[1]}: match bob",
        f"{probes[2]}: no_match below_threshold",
        f"{empty}: rejected no_face",
    ]
    assert "enrolled alice with 2 of 2 photographs" in err
    code, out, err = run(*args, "--json")
    assert (code, err) == (0, "")
    shown = json.loads(out)
    key = VerifyKey.from_pem(shown["device_key"].encode())
    for entry in shown["decisions"]:
        assert set(entry) == {"file", "decision", "jws"}
        assert verify_decision(entry["jws"], key).to_dict() == entry["decision"]
        assert entry["decision"]["marks"] == ["demonstration"]
    assert shown["policy"] == Policy(max_attempts=0, max_trials_per_minute=0).id
    assert not [v for v in _numbers(shown) if isinstance(v, float)]


def _numbers(value):
    if isinstance(value, dict):
        for inner in value.values():
            yield from _numbers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner)
    else:
        yield value


def test_try_verifies_a_claim(run, photographs, bundle_path):
    """--verify asks 1:1, in development mode marked as such."""
    alice, bob = photographs("alice.png", 10), photographs("bob.png", 20)
    args = ["try", "--bundle", bundle_path, "--development", "--enroll", f"alice={alice}", "--verify", "alice"]
    code, out, _ = run(*args, alice, bob, "--json")
    assert code == 0
    found = [entry["decision"] for entry in json.loads(out)["decisions"]]
    assert [(d["kind"], d["outcome"]) for d in found] == [("verify", "match"), ("verify", "no_match")]
    assert found[0]["marks"] == ["demonstration", "development"]


def test_try_tells_what_it_cannot_use(run, photographs, bundle_path, tmp_path):
    """Photographs without a face, the same face twice, empty folders, files that are no image, unknown rates."""
    alice, empty = photographs("alice.png", 10), photographs("empty.png", 0)
    base = ["try", "--bundle", bundle_path, "--development", "--enroll"]
    _, _, err = run(*base, f"alice={alice}", "--enroll", f"twin={alice}", "--enroll", f"nobody={empty}", alice)
    assert "twin is not enrolled: the same face is enrolled as alice" in err
    assert "nobody is not enrolled" in err
    assert "no_face" in err
    (tmp_path / "void").mkdir()
    (tmp_path / "text.png").write_text("no image")
    assert run(*base, f"alice={tmp_path / 'void'}", alice)[0] == 3
    assert run(*base, f"alice={alice}", tmp_path / "text.png")[0] == 3
    assert run(*base, f"alice={alice}", tmp_path / "none.png")[0] == 3
    assert run(*base, f"alice={alice}", alice, "--fmr", "1e-9")[0] == 3
    assert run(*base, f"alice={alice}", alice, "--fmr", "7")[0] == 3


def test_errors_reach_the_caller_with_their_own_code(run, monkeypatch):
    """Every FacegateError exits with its own code."""

    @click.command()
    def broken():
        raise BundleFormatError("damaged", hint="copy it again")

    monkeypatch.setattr(_commands.root, "get_command", lambda *_: broken)
    assert run("broken") == (3, "", "error: damaged\nhint: copy it again\n")


def test_the_exit_codes_are_the_documented_ones():
    """The constants are the codes of the help's epilog."""
    assert (cli.USAGE, cli.ENVIRONMENT, cli.BUG, cli.INTERRUPTED, cli.BROKEN_PIPE) == (2, 5, 70, 130, 141)


def test_names_do_nothing_to_a_terminal(capsys, tmp_path):
    """Escape sequences, titles and turned text in a file's name are shown as what they are."""
    name = "a\x1b]0;title\x07\x1b[31mred\u202etxt.fgb"
    assert main(["bundle", "verify", str(tmp_path / name), "--development"]) != 0
    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "\\x1b]0;title\\x07\\x1b[31mred\\u202etxt.fgb" in shown
