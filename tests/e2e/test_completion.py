"""What the tab key does in real shells. zsh and fish are tried where they are installed."""

import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit.completing.commands import described, entries, modules
from toolkit.store.layout import Layout

ROOT = Path(__file__).resolve().parents[2]
SHELLS = ("bash", "zsh", "fish")
CASES = [
    # typed, and all that may follow the last word of it
    ("python -m toolkit.que", ["toolkit.query"]),
    ("python3 -m toolkit.que", ["toolkit.query"]),
    ("python -W ignore -m toolkit.que", ["toolkit.query"]),
    ("python -m toolkit.inspect s", ["show", "stats"]),
    ("python -m toolkit.teach protocol s", ["show"]),
    ("python -m toolkit.query --whe", ["--where="]),
    ("python -m toolkit.query --cou", ["--count"]),
    ("python -m toolkit.query --qui", ["--quiet"]),
    ("python -m toolkit.query --format=j", ["json"]),
    ("python -m toolkit.query --format j", ["json"]),
    ("python -m toolkit.query --log=", ["quiet", "plain", "colour", "json"]),
    ("python -m toolkit.query --datasets=ph", ["photos"]),
    ("python -m toolkit.query --datasets=photos,c", ["photos,circles"]),
    ("python -m toolkit.query --manifests=other --datasets=", ["elsewhere"]),
    ("python -m toolkit.inspect diff ph", ["photos"]),
    ("python -m toolkit.encode true --encoder=clip", ["clip_image", "clip_text"]),
    ("python -m toolkit.pack fol", ["folder"]),
    ("python -m toolkit.pack folder --caption_", ["--caption_from="]),
    ("python -m toolkit.pack --caption_", []),
    ("python -m toolkit.teach --protocol=rein", ["reinhard"]),
    ("python -m train.run ot", ["ot_cfm"]),
    ("python -m train.run ot_cfm --config=sm", ["smoke"]),
    ("python -m train.run --config=ablation-k", ["ablation-k2", "ablation-k8"]),
    ("python -m train.run --optim.sche", ["--optim.schedule="]),
    ("python -m train.run --optim.schedule=co", ["constant", "cosine"]),
    ("python -m eval.run --run=runs/d", ["runs/demo"]),
    ("python -m eval.run --metrics=lpips,fi", ["lpips,fid"]),
    ("python -m eval.compare demo de", ["demo"]),
]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the script of each shell, as the command prints it."""
    folder = tmp_path_factory.mktemp("scripts")
    for shell in SHELLS:
        text = subprocess.run(
            [sys.executable, "-m", "toolkit.completion", shell], cwd=ROOT, capture_output=True,
            text=True, check=True,
        ).stdout  # fmt: skip
        (folder / shell).write_text(text, "utf-8")
    return folder


@pytest.fixture
def workplace(triplets: Layout) -> Path:
    folder = triplets.shards.parent
    (folder / "runs" / "demo").mkdir(parents=True)
    (folder / "runs" / "demo" / "config.toml").touch()
    (folder / "other" / "elsewhere").mkdir(parents=True)
    (folder / "other" / "elsewhere" / "dataset.json").touch()
    (folder / "script.py").touch()
    return folder


def words_of_bash(line: str) -> list[str]:
    """As readline parts them, at spaces and around `=`."""
    words: list[str] = []
    for word in line.split(" "):
        flag, equals, value = word.partition("=")
        words += [flag, *([equals] if equals else []), *([value] if value else [])]
    return [*words, ""] if line.endswith(" ") and words[-1] else words


def in_bash(scripts: Path, cwd: Path, lines: list[str], before: str = "") -> list[list[str]]:
    """COMPREPLY for each line, from one bash."""
    calls = [
        f"COMP_WORDS=({' '.join(quoted(w) for w in words_of_bash(line))}); "
        f"COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); COMPREPLY=(); "
        "__tessera_python python; printf '%s\\t' \"${COMPREPLY[@]}\"; echo"
        for line in lines
    ]
    program = "\n".join([before, f"source {scripts / 'bash'}", *calls])
    done = subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", program], cwd=cwd, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return [[w for w in line.split("\t") if w] for line in done.stdout.splitlines()]


def quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


@contextlib.contextmanager
def terminal(command: list[str], cwd: Path) -> Iterator[int]:
    """An interactive shell on a terminal of its own."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, 200))
    env = {k: v for k, v in os.environ.items() if k not in ("COMPREPLY", "PROMPT_COMMAND")}
    env |= {"TERM": "dumb", "HOME": str(cwd), "ZDOTDIR": str(cwd), "PS1": "> "}
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env=env,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        yield ours
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(ours)


def read_until(handle: int, expected: str, seconds: float = 20.0) -> str:
    """What the terminal shows until a text comes, or the time is up."""
    found, end = "", time.monotonic() + seconds
    while expected not in found and time.monotonic() < end:
        ready, _, _ = select.select([handle], [], [], 0.2)
        if ready:
            found += os.read(handle, 65536).decode("utf-8", "replace")
    return found


SETUP = {
    "bash": (["bash", "--norc", "--noprofile", "-i"],
             "bind 'set enable-bracketed-paste off'; source SCRIPT"),
    "zsh": (["zsh", "-f", "-i"], "autoload -Uz compinit; compinit -u -D; source SCRIPT"),
}  # fmt: skip


@pytest.mark.parametrize("shell", SETUP)
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("python -m toolkit.que", "python -m toolkit.query "),
        ("python -m toolkit.query --whe", "toolkit.query --where="),
        ("python -m toolkit.query --format=j", "--format=json "),
        ("python -m toolkit.query --datasets=photos,c", "--datasets=photos,circles"),
        ("python -m toolkit.inspect sh", "toolkit.inspect show "),
        ("python -m train.run ot", "train.run ot_cfm "),
        ("python -m eval.run --run=runs/d", "--run=runs/demo"),
        ("python scr", "python script.py "),  # as it was before
        ("ls scr", "ls script.py "),
    ],
)
def test_a_tab_on_a_terminal(
    shell: str, typed: str, expected: str, scripts: Path, workplace: Path
) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    command, setup = SETUP[shell]
    with terminal(command, workplace) as handle:
        setup = setup.replace("SCRIPT", str(scripts / shell))
        os.write(handle, f"{setup}; echo rea''dy\n".encode())
        assert "ready" in read_until(handle, "ready\r\n")
        os.write(handle, f"{typed}\t".encode())
        shown = read_until(handle, expected)
    assert expected in shown.replace("\x07", "")
    assert "not found" not in shown


def test_what_bash_completes(scripts: Path, workplace: Path) -> None:
    found = in_bash(scripts, workplace, [typed for typed, _ in CASES])
    for (typed, expected), given in zip(CASES, found, strict=True):
        assert sorted(given) == sorted(expected), typed


def test_what_fish_completes(scripts: Path, workplace: Path) -> None:
    if not shutil.which("fish"):
        pytest.skip("fish is not installed")
    for typed, expected in CASES:
        done = subprocess.run(
            ["fish", "--no-config", "-c",
             f"source {scripts / 'fish'}; complete -C {quoted(typed)}"],
            cwd=workplace, capture_output=True, text=True, check=True,
            env={**os.environ, "HOME": str(workplace)},
        )  # fmt: skip
        assert done.stderr == ""
        given = [line.partition("\t")[0] for line in done.stdout.splitlines()]
        flag = typed.rpartition(" ")[2].partition("=")
        before = flag[0] + flag[1] if flag[1] else ""
        assert sorted(given) == sorted(before + one for one in expected), typed


def test_fish_tells_the_help_of_flags(scripts: Path, workplace: Path) -> None:
    if not shutil.which("fish"):
        pytest.skip("fish is not installed")
    program = f"source {scripts / 'fish'}; complete -C 'python -m toolkit.query --gro'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", program], cwd=workplace, capture_output=True, text=True,
        check=True, env={**os.environ, "HOME": str(workplace)},
    )  # fmt: skip
    assert done.stdout.startswith("--group_by=\t")
    assert len(done.stdout) > 20


def test_bash_leaves_other_uses_of_python_to_what_was_there(scripts: Path, workplace: Path) -> None:
    before = "_mine() { COMPREPLY=(theirs); }; complete -F _mine python"
    lines = ["python scr", "python -m json.to", "python script.py --whe", "python -m "]
    assert in_bash(scripts, workplace, lines, before) == [["theirs"]] * len(lines)
    assert in_bash(scripts, workplace, lines) == [[]] * len(lines)  # then bash's own takes over
    loader = "_comp_load() { _later() { COMPREPLY=(later); }; complete -F _later python; }"
    assert in_bash(scripts, workplace, lines, loader) == [["later"]] * len(lines)
    ours = in_bash(scripts, workplace, ["python -m toolkit.que", "python scr",
                                        "python -m toolkit.que"], loader)  # fmt: skip
    assert ours == [["toolkit.query"], ["later"], ["toolkit.query"]]


def test_bash_starts_no_process_while_it_completes(scripts: Path, workplace: Path) -> None:
    """Names are looked up by the shell itself: with nothing on the PATH it does the same."""
    bash = shutil.which("bash")
    program = (
        f"PATH=/nowhere; source {scripts / 'bash'}; "
        "COMP_WORDS=(python -m toolkit.query --datasets = ph); COMP_CWORD=5; "
        "__tessera_python python; printf '%s' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(
        [str(bash), "--norc", "-c", program], cwd=workplace, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("photos", "")


def test_every_command_is_known() -> None:
    there = modules()
    for module in ("toolkit.query", "toolkit.completion", "train.run", "train.lora", "eval.run"):
        assert module in there
    readme = (ROOT / "README.md").read_text("utf-8")
    named = set(re.findall(r"python -m ((?:toolkit|train|eval)\.\w+)", readme))
    assert len(named) > 15
    assert named <= set(there)
    by_key = {entry.key: entry for entry in entries()}
    assert set(there) == {key for key in by_key if " " not in key}
    for entry in by_key.values():
        assert entry.help or entry.nexts, entry.key


def test_what_json_says_is_what_help_says(run_command) -> None:
    """Of a command with sub-commands, and of one with fields."""
    for words in (["toolkit.inspect", "diff"], ["train.run", "ot_cfm"]):
        text = run_command(*words, "--help").stdout
        done = run_command(*words, "--help=json")
        assert done.returncode == 0, done.stderr
        if words[0] == "toolkit.inspect":
            facts = json.loads(run_command(words[0], "--help=json").stdout)["commands"]["diff"]
        else:
            facts = json.loads(done.stdout)
        names = [p["name"] for p in facts["parameters"] if not p["positional"]]
        assert len(names) > 3
        for name in names:
            assert f"--{name}" in text
    assert described("toolkit.query")["summary"].startswith("Lists the samples")
