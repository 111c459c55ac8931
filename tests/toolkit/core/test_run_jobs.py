"""How runs are made as jobs: by real processes that say what they do, killed and started again."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from toolkit.core.errors import UserError
from toolkit.core.job_progress import Running, describe
from toolkit.core.run_jobs import Job, refuse_others, work

ROOT = Path(__file__).resolve().parents[3]
# Writes a line about itself; a training makes the run's folder, as the real one does.
STAGE = """
import pathlib, sys, time
stage, run, code, *more = sys.argv[1:]
run = pathlib.Path(run)
seconds = run.parent / "seconds.txt"
with open(run.parent / "ran.txt", "a") as file:
    file.write(f"{stage} {run.name} {' '.join(more)}\\n")
if stage == "train":
    if (run.parent / "early").exists():  # before the folder is touched
        sys.exit(1)
    run.mkdir(exist_ok=True)
    (run / "config.toml").touch()
time.sleep(float(seconds.read_text()) if seconds.exists() else 0)
while (run.parent / "hold").exists():
    time.sleep(0.02)
if code != "0":
    print("error: it is broken")
sys.exit(int(code))
"""


def jobs(folder: Path, count: int = 3, broken: str = "") -> list[Job]:
    found = []
    for number in range(count):
        run = folder / f"m-r{number}"
        commands = {
            stage: [
                "-c",
                STAGE,
                stage,
                str(run),
                str(int(f"{stage}{number}" == broken)),
            ]
            for stage in ("train", "stylize", "eval")
        }
        found.append(Job(f"r{number}, seed 0", run, folder / "m" / "rows" / run.name, commands))
    return found


def ran(folder: Path) -> list[str]:
    path = folder / "ran.txt"
    return [line.strip() for line in path.read_text().splitlines()] if path.exists() else []


def scored(_: Job) -> bool:
    return True


def test_each_stage_runs_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    own = jobs(tmp_path)
    outcome = work(own, False, scored)
    assert outcome == {"done": own, "failed": [], "elsewhere": []}
    whole = [f"{stage} m-r{n}" for n in range(3) for stage in ("train", "stylize", "eval")]
    assert ran(tmp_path) == whole
    assert all(job.is_done(job.state()) for job in own)
    assert own[0].state().seconds.keys() == {"train", "stylize", "eval"}
    work(own, False, scored)
    assert ran(tmp_path) == whole
    work(own, False, lambda job: job is not own[1])  # its pictures were made anew since
    assert ran(tmp_path) == [*whole, "eval m-r1"]
    assert "[2/3] r1, seed 0: eval done" in capfd.readouterr().err


def test_other_flags_repeat_what_depends_on_them(tmp_path: Path) -> None:
    own = jobs(tmp_path, 1)
    work(own, False, scored)
    own[0].commands["stylize"].append("--steps=9")
    refuse_others(own, False)
    work(own, False, scored)
    assert ran(tmp_path)[3:] == ["stylize m-r0 --steps=9", "eval m-r0"]
    own[0].commands["train"].append("--lr=1")
    with pytest.raises(
        UserError, match=r"trained otherwise \(then without, now --lr=1\): --overwrite"
    ):
        refuse_others(own, False)
    refuse_others(own, True)
    work(own, True, scored)
    assert ran(tmp_path)[5] == "train m-r0 --lr=1 --overwrite"
    assert len(ran(tmp_path)) == 8
    (tmp_path / "m" / "rows" / "m-r0" / "state.json").unlink()
    with pytest.raises(UserError, match="is there and not of this matrix"):
        refuse_others(own, False)


def test_training_anew_resumes_only_what_was_begun_anew(tmp_path: Path) -> None:
    own, early = jobs(tmp_path, 1), tmp_path / "early"
    work(own, False, scored)
    own[0].commands["train"].append("--lr=1")
    early.touch()
    assert work(own, True, scored)["failed"] == own
    assert work(own, False, scored)["failed"] == own
    early.unlink()
    own[0].commands["train"][4] = "1"  # it fails after it began
    assert work(own, True, scored)["failed"] == own
    assert work(own, False, scored)["failed"] == own
    assert ran(tmp_path)[3:] == [
        *["train m-r0 --lr=1 --overwrite"] * 3, "train m-r0 --lr=1 --resume",
    ]  # fmt: skip


def test_a_failure_keeps_the_others_going_and_is_tried_again(tmp_path: Path) -> None:
    own = jobs(tmp_path, 3, broken="stylize1")
    outcome = work(own, False, scored)
    assert (outcome["failed"], outcome["done"]) == ([own[1]], [own[0], own[2]])
    assert own[1].state().failed == "stylize: error: it is broken"
    assert "error: it is broken" in own[1].log.read_text()
    mended = jobs(tmp_path, 3)
    refuse_others(mended, False)
    assert work(mended, False, scored)["done"] == mended
    assert ran(tmp_path)[-2:] == ["stylize m-r1", "eval m-r1"]
    assert mended[1].state().failed == ""


WORKER = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.toolkit.core.test_run_jobs import jobs, scored
from toolkit.core.job_progress import Running, describe
from toolkit.core.run_jobs import work
from toolkit.core.command import run

def main() -> None:
    found = work(jobs(Path(sys.argv[2]), 4), False, scored)
    print(json.dumps({key: [job.run.name for job in value] for key, value in found.items()}))

run(main, "prog", [])
"""


def started(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(ROOT), str(folder)], cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for(folder: Path, count: int) -> None:
    end = time.monotonic() + 30
    while len(ran(folder)) < count:
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_waits_for_the_stage_and_goes_on_later(tmp_path: Path, number: int) -> None:
    (tmp_path / "hold").touch()
    process = started(tmp_path)
    wait_for(tmp_path, 1)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "interrupted: the same command goes on where it stopped"
    state = json.loads((tmp_path / "m" / "rows" / "m-r0" / "state.json").read_text())
    assert (state["done"], state["running"], state["cut_short"]) == ([], "", [])
    assert 0 < state["seconds"]["train"] < 20


def test_killed_it_resumes_a_training_and_tells_that_seconds_are_lost(tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    process = started(tmp_path)
    wait_for(tmp_path, 1)
    process.kill()
    process.wait()
    beside = started(tmp_path)
    wait_for(tmp_path, 2)  # the run after the one whose training was left alone
    hold.unlink()
    out, err = beside.communicate(timeout=60)
    assert json.loads(out)["elsewhere"] == ["m-r0"], err
    out, err = started(tmp_path).communicate(timeout=60)
    assert json.loads(out)["elsewhere"] == [], err
    lines = [line for line in ran(tmp_path) if line.startswith("train m-r0")]
    assert lines == ["train m-r0", "train m-r0 --resume"]
    own = jobs(tmp_path, 4)
    assert own[0].state().cut_short == ["train"]
    assert own[1].state().cut_short == []


def test_two_processes_share_the_runs(tmp_path: Path) -> None:
    (tmp_path / "seconds.txt").write_text("0.3")
    both = [started(tmp_path) for _ in range(2)]
    found = [json.loads(process.communicate(timeout=60)[0]) for process in both]
    made = [line for line in ran(tmp_path) if line.startswith("train")]
    assert sorted(made) == [f"train m-r{n}" for n in range(4)]
    assert all(len(one["done"]) >= 1 for one in found)
    assert all(one["failed"] == [] for one in found)


def test_several_slots_work_at_once_each_in_its_environment(tmp_path: Path) -> None:
    """Two cards, five jobs, one of which fails: no card has two at a time."""
    stage = (
        "import os, pathlib, sys, time\n"
        "card, log = os.environ['CARD'], pathlib.Path(sys.argv[2])\n"
        "def tell(what):\n"
        "    with open(log, 'a') as file: file.write(f'{card} {what} {sys.argv[1]}\\n')\n"
        "tell('begins'); time.sleep(0.3); tell('ends')\n"
        "sys.exit(int(sys.argv[1] == '3'))\n"
    )
    log = tmp_path / "log"
    own = [
        Job(f"j{n}", tmp_path / f"j{n}", tmp_path / "s" / f"j{n}",
            {"train": ["-c", stage, str(n), str(log)]})
        for n in range(5)
    ]  # fmt: skip
    outcome = work(own, False, slots=[{"CARD": "a"}, {"CARD": "b"}])
    assert outcome == {"done": [*own[:3], own[4]], "failed": [own[3]], "elsewhere": []}
    lines = [line.split() for line in log.read_text().splitlines()]
    for card in "ab":
        mine = [what for where, what, _ in lines if where == card]
        assert mine == ["begins", "ends"] * (len(mine) // 2)
        assert len(mine) >= 4
    first_end = next(n for n, line in enumerate(lines) if line[1] == "ends")
    assert first_end == 2  # both began before one ended


def test_an_error_of_the_program_stops_all_slots_and_is_told(tmp_path: Path) -> None:
    own = jobs(tmp_path, 4)
    own[1].folder.mkdir(parents=True)
    (own[1].folder / "state.json").write_text("{")
    with pytest.raises(ValueError, match="Expecting property name"):
        work(own, False, scored, slots=[{}, {}])
    assert not any("m-r3" in line for line in ran(tmp_path))


def test_a_stage_that_fails_is_begun_again_as_often_as_asked(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    note = tmp_path / "tries"
    code = (
        f"import pathlib,sys,time; p=pathlib.Path({str(note)!r}); "
        "n=len(p.read_text()) if p.exists() else 0; p.write_text('x'*(n+1)); time.sleep(0.3); "
        "sys.exit('error: not yet') if n < 2 else None"
    )
    job = Job("a", tmp_path / "a", tmp_path / "jobs" / "a", {"score": ["-c", code]})
    assert [j.label for j in work([job], False, retries=1)["failed"]] == ["a"]
    assert note.read_text() == "xx"
    assert "[1/1] a: score: error: not yet; again" in capfd.readouterr().err
    outcome = work([job], False, retries=1, every_s=0.1)
    assert [j.label for j in outcome["done"]] == ["a"]
    assert note.read_text() == "xxx"
    assert "0 of 1 ended; a: score, 0 s" in capfd.readouterr().err


def test_a_line_tells_the_step_and_the_loss_of_a_training(tmp_path: Path) -> None:
    records = [{"step": n, "loss": 1 / n} for n in range(1, 900)] + [{"step": 899, "eval_loss": 3}]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records) + '{"st')
    told = describe(Running("03", tmp_path, "train", time.monotonic()))
    assert told == "03: train, step 899, loss 0.001112, 0 s"
    assert describe(Running("03", tmp_path / "no", "train", time.monotonic())) == "03: train, 0 s"
