"""The command wrapper: what it refuses and how it says so, what it passes on.

What depends on the process (exit codes, standard error, pipes, imports) is tried in real ones.
"""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from toolkit.core.command import run

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = ("toolkit.pack", "toolkit.query", "toolkit.inspect", "toolkit.verify")

PROGRAM = '''
"""Programs to be started by the tests."""
import json
import sys
import time
from pathlib import Path
from typing import Literal

from toolkit.core.command import run
from toolkit.core.errors import UserError


def train(
    method: str,
    where: str = "true",
    *,
    steps: int = 10,
    rate: float = 0.5,
    dry_run: bool = False,
    name: str | None = None,
    out: Path | None = None,
    form: Literal["table", "json"] = "table",
    sizes: tuple[int, ...] = (),
    **options: str,
) -> None:
    """Trains something.

    Second paragraph.

    Args:
        method: which method;
            explained over two lines.
        steps: how many steps.
        dry_run: only say what would happen.
    """
    found = dict(locals())
    print(json.dumps({k: [type(v).__name__, v] for k, v in found.items()}, default=str))


def fail(kind: str = "user") -> None:
    """Fails in a chosen way."""
    if kind == "user":
        raise UserError("the thing\\nis   broken: mend it")
    if kind == "interrupt":
        raise KeyboardInterrupt
    if kind == "two":  # the second one finds the first being raised out of a lock
        try:
            raise KeyboardInterrupt("go on")
        except KeyboardInterrupt:
            raise RuntimeError("release unlocked lock")
    raise RuntimeError("a bug")


def many(lines: int = 100000) -> None:
    """Prints many lines."""
    for number in range(lines):
        print(number)


if __name__ == "__main__":
    which = sys.argv.pop(1)
    if which == "group":
        run({"train": train, "fail": fail}, "prog")
    else:
        run({"train": train, "fail": fail, "many": many}[which], f"prog {which}")
'''

Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "program.py"
    path.write_text(PROGRAM, "utf-8")
    return path


@pytest.fixture(scope="module")
def program(script: Path) -> Program:
    def start(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(script), *args],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )

    return start


@pytest.fixture
def here(script: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs `train` of the program in this process: exit code, standard output and error."""
    spec = importlib.util.spec_from_file_location("program_of_the_tests", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def start(*args: str) -> tuple[int, str, str]:
        code = 0
        try:
            run(module.train, "prog train", list(args))
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        return code, *capsys.readouterr()

    return start


Here = Callable[..., tuple[int, str, str]]


def arguments(done: tuple[int, str, str]) -> dict[str, list[object]]:
    """What `train` was called with: name to [type, value]."""
    code, out, err = done
    assert (code, err) == (0, "")
    return dict(json.loads(out))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--step=5"], "unknown flag --step: did you mean --steps?"),
        (["--dry-rum"], "unknown flag --dry_rum: did you mean --dry_run?"),
        (["--zzzzzz=5"], "unknown flag --zzzzzz: known: method, where, steps"),
        (["--steps=abc"], "--steps=abc: takes a whole number"),
        (["--steps=1.5"], "--steps=1.5: takes a whole number"),
        (["--steps=True"], "--steps=True: takes a whole number"),
        (["--rate=fast"], "--rate=fast: takes a number"),
        (["--dry_run=perhaps"], "dry_run=perhaps: write true or false"),
        (["--form=xml"], "choose one of table, json"),
        (["--sizes=1,x"], "sizes=x: takes a whole number"),
        (["--steps"], "--steps needs a value: write --steps=VALUE"),
        (["--steps=1", "--steps=2"], "--steps is given twice"),
        (["true", "surplus"], "unexpected argument 'surplus'"),
        (["--method=other"], "method is given twice"),
    ],
)
def test_wrong_arguments_cost_one_line_and_exit_code_2(
    here: Here, args: list[str], message: str
) -> None:
    code, out, err = here("flow", *args)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1, err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["flow", "--step=5"], "unknown flag --step: did you mean --steps?"),
        (["flow", "--steps=abc"], "--steps=abc: takes a whole number, for example 100"),
        (["--steps=3"], "method is missing: see prog train --help"),
        (["flow", "true", "surplus"], "unexpected argument 'surplus': see prog train --help"),
    ],
)
def test_a_real_process_refuses_without_a_traceback(
    program: Program, args: list[str], message: str
) -> None:
    done = program("train", *args)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {message}\n")


def test_values_arrive_with_the_type_of_their_annotation(here: Here) -> None:
    got = arguments(
        here(
            "007", "style='a=b'", "--steps=1_000", "--rate=1e-4", "--name=012",
            "--out=a/b", "--form=json", "--sizes=3,4", "--dry_run",
        )
    )  # fmt: skip
    assert got == {
        "method": ["str", "007"],
        "where": ["str", "style='a=b'"],
        "steps": ["int", 1000],
        "rate": ["float", 1e-4],
        "dry_run": ["bool", True],
        "name": ["str", "012"],
        "out": ["PosixPath", "a/b"],
        "form": ["str", "json"],
        "sizes": ["tuple", [3, 4]],
        "options": ["dict", {}],
    }


def test_defaults_stay_untouched(here: Here) -> None:
    got = arguments(here("flow"))
    assert got["steps"] == ["int", 10]
    assert got["name"] == ["NoneType", None]
    assert got["sizes"] == ["tuple", []]
    assert got["dry_run"] == ["bool", False]


def test_dashes_spaces_and_flags_for_positional_arguments(here: Here) -> None:
    got = arguments(here("--method", "flow", "--dry-run", "--steps", "-3", "-name=x"))
    assert got["method"] == ["str", "flow"]
    assert got["dry_run"] == ["bool", True]
    assert got["steps"] == ["int", -3]
    assert got["name"] == ["str", "x"]


@pytest.mark.parametrize(
    ("args", "value"),
    [
        (["--dry_run=false"], False),
        (["--dry_run=no"], False),
        (["--dry_run", "false"], False),
        (["--dry_run", "true"], True),
        (["--dry_run=1"], True),
        (["--dry_run=OFF"], False),
        (["--dry_run", "--steps=3"], True),
    ],
)
def test_boolean_flags(here: Here, args: list[str], value: bool) -> None:
    assert arguments(here("flow", *args))["dry_run"] == ["bool", value]


def test_a_boolean_flag_leaves_the_next_argument_alone(here: Here) -> None:
    got = arguments(here("--dry_run", "flow", "1"))
    assert got["method"] == ["str", "flow"]
    assert got["where"] == ["str", "1"]


def test_a_boolean_flag_leaves_a_number_alone(here: Here) -> None:
    got = arguments(here("flow", "--dry_run", "1"))
    assert got["dry_run"] == ["bool", True]
    assert got["where"] == ["str", "1"]


def test_text_is_never_evaluated(here: Here) -> None:
    got = arguments(here("[1,2]", "{'a': 1}", "--name=None "))
    assert got["method"] == ["str", "[1,2]"]
    assert got["where"] == ["str", "{'a': 1}"]


def test_an_expression_that_begins_with_a_minus_is_no_flag(here: Here) -> None:
    assert arguments(here("flow", "-1 < width"))["where"] == ["str", "-1 < width"]


def test_help_lists_every_argument_with_its_text(here: Here) -> None:
    for args in (["--help"], ["-h"], ["flow", "--steps=abc", "--help"]):
        code, out, err = here(*args)
        assert (code, err) == (0, "")
        usage, text = out.split("\n", 1)
        assert usage.startswith("usage: prog train METHOD [WHERE] [--steps=…]")
        for name in ("--rate", "--dry_run", "--name", "--out", "--form", "--sizes"):
            assert name in text
        assert "which method; explained over two lines." in text
        assert "how many steps. (default: 10)" in text
        assert "Second paragraph." in text
        assert "Args:" not in text


def test_sub_commands(program: Program) -> None:
    overview = program("group")
    assert overview.returncode == 0
    assert "train  Trains something." in overview.stdout
    assert program("group", "--help").stdout == overview.stdout
    started = program("group", "train", "flow")
    assert json.loads(started.stdout)["method"] == ["str", "flow"]
    assert "usage: prog train METHOD" in program("group", "train", "--help").stdout
    wrong = program("group", "tain")
    assert wrong.returncode == 2
    assert wrong.stderr == "error: unknown sub-command 'tain': did you mean train?\n"


def test_words_that_name_no_sub_command_go_to_the_one_without_a_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def pick(where: str, *, count: bool = False) -> None:
        print("picked", where, count)

    def send(folder: str) -> None:
        print("sent", folder)

    commands = {"": pick, "send": send}
    run(commands, "prog", ["a = 1", "--count"])
    run(commands, "prog", ["--where=b"])
    run(commands, "prog", ["send", "out"])
    assert capsys.readouterr().out.splitlines() == [
        "picked a = 1 True",
        "picked b False",
        "sent out",
    ]
    with pytest.raises(SystemExit):
        run(commands, "prog", ["sned", "out"])
    assert "unexpected argument 'out'" in capsys.readouterr().err


def test_a_user_error_is_one_line_even_when_its_text_is_not(program: Program) -> None:
    done = program("fail")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: the thing is broken: mend it\n"


def test_an_interrupt_is_one_line(program: Program) -> None:
    done = program("fail", "interrupt")
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
    done = program("fail", "two")
    assert (done.returncode, done.stderr) == (130, "interrupted: go on\n")


SLOW_TO_END = """
import os
from toolkit.core.command import run

kept = [{} for _ in range(2_000_000)]  # the interpreter takes a while to free these


def fail() -> None:
    raise KeyboardInterrupt("go on")


run(fail, "prog", [])
"""


def test_another_interrupt_while_the_program_ends_changes_nothing() -> None:
    for wait in (0.0, 0.02, 0.05, 0.1):
        ending = subprocess.Popen(
            [sys.executable, "-c", SLOW_TO_END], stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert ending.stderr is not None
        assert ending.stderr.readline() == "interrupted: go on\n"
        time.sleep(wait)
        ending.send_signal(signal.SIGINT)
        assert (ending.wait(timeout=20), ending.stderr.read()) == (130, "")


def test_a_bug_keeps_its_traceback(program: Program) -> None:
    done = program("fail", "bug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "RuntimeError: a bug" in done.stderr


@pytest.mark.parametrize("lines", [3, 100_000])
def test_a_reader_that_goes_away_is_no_error(script: Path, lines: int) -> None:
    started = subprocess.Popen(
        [sys.executable, str(script), "many", f"--lines={lines}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    assert started.stderr is not None
    if lines > 3:
        assert started.stdout.readline() == "0\n"
    started.stdout.close()
    assert started.stderr.read() == ""
    assert started.wait() == 141


def fields(positional: list[str], flags: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Dotted flags of a program, for whatever method is given."""
    names = ("optim.lr", "data.mix", "net.a.k", "net.k")
    return f"fields of {positional}:", {name: f"--{name}=1" for name in names}


def dotted(method: str = "flow", *, steps: int = 1, **overrides: str) -> None:
    """Starts."""
    print(json.dumps([method, steps, overrides]))


def test_dotted_flags_are_listed_and_arrive_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    run(dotted, "prog", ["ot_cfm", "--help"], fields)
    listed = "fields of ['ot_cfm']:\n  --optim.lr=1\n  --data.mix=1\n  --net.a.k=1\n"
    assert listed in capsys.readouterr().out
    run(dotted, "prog", ["--optim.lr=0.1", "--steps=3", "--data.mix=b:2"], fields)
    values = {"optim.lr": "0.1", "data.mix": "b:2"}
    assert json.loads(capsys.readouterr().out) == ["flow", 3, values]
    run(dotted, "prog", ["--lr=0.1", "--mix=b:2"], fields)  # the last part of a name will do
    assert json.loads(capsys.readouterr().out) == ["flow", 1, values]
    run(dotted, "prog", ["--a.k=3"], fields)  # or its last parts
    assert json.loads(capsys.readouterr().out) == ["flow", 1, {"net.a.k": "3"}]


def test_the_last_part_of_two_flags_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    def two(positional: list[str], flags: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        return "fields:", {"optim.steps_of": "", "sample.size": "", "data.size": ""}

    with pytest.raises(SystemExit):
        run(dotted, "prog", ["--size=1"], two)
    assert "did you mean --sample.size or --data.size?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(dotted, "prog", ["--lr=1", "--optim.lr=2"], fields)
    assert "--optim.lr is given twice: keep one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--lrr=1", "unknown flag --lrr: did you mean --optim.lr?"),
        ("--optim.lrr=1", "unknown flag --optim.lrr: did you mean --optim.lr?"),
        ("--optimm.lr=1", "unknown flag --optimm.lr: did you mean --optim.lr?"),
        ("--data=1", "unknown flag --data: did you mean --data.mix?"),
        ("--step=1", "unknown flag --step: did you mean --steps?"),
        (
            "--zzzz=1",
            "unknown flag --zzzz: known: method, steps, optim.lr, data.mix, net.a.k, net.k",
        ),
    ],
)
def test_an_unknown_dotted_flag_is_named_with_the_nearest(
    flag: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        run(dotted, "prog", [flag], fields)
    assert leaving.value.code == 2
    assert capsys.readouterr().err == f"error: {message}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_full_disk_under_the_output_is_one_line(script: Path, lines: int) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, str(script), "many", f"--lines={lines}"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "error: no space left for the output: free some and try again\n"


@pytest.mark.parametrize("module", COMMANDS)
def test_help_of_the_real_commands_loads_no_heavy_library(module: str, tmp_path: Path) -> None:
    # -X importtime names every imported module on stderr.
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", module, "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: python -m {module}")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "toolkit.core.command" in imported
    assert not imported & {"torch", "duckdb", "PIL.Image", "scipy", "skimage", "simplejpeg"}
    assert not list(tmp_path.iterdir())


def test_the_real_pack_refuses_unknown_flags_before_it_runs(
    run_command: Program, tmp_path: Path
) -> None:
    done = run_command("toolkit.pack", "--manifest=x", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: unknown flag --manifest: did you mean --manifests?\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module", ["toolkit.inspect", "toolkit.verify"])
def test_without_packed_data_the_commands_say_what_to_do(
    module: str, run_command: Program, tmp_path: Path
) -> None:
    sub = ("ls",) if module == "toolkit.inspect" else ()
    done = run_command(module, *sub, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: there is no folder manifests: run `python -m toolkit.pack` first\n"
    )
