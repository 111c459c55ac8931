"""Commands in processes of their own, without importing the large libraries each time.

Importing torch and diffusers takes longer than most commands do. A process that has imported them,
and nothing of this project, forks once for each command; the child runs the module as `python -m`
does and leaves as that would. What only training and evaluation need is imported for the first of
their commands. Commands with an environment of their own are started plainly, since libraries read
some of it when they are imported.
"""

import atexit
import gc
import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


class ForkServer:
    """`fork_server().run("toolkit.query", ["true"], cwd)`. It ends with the process that has it."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve())], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    def run(
        self, module: str, args: list[str], cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a module to its end; as `subprocess.run` with captured texts."""
        assert self._server.stdin
        assert self._server.stdout
        with tempfile.TemporaryDirectory() as folder:
            paths = [str(Path(folder) / name) for name in ("out", "err")]
            job = {"module": module, "args": args, "cwd": str(cwd or Path.cwd()), "paths": paths}
            self._server.stdin.write(json.dumps(job) + "\n")
            self._server.stdin.flush()
            code = int(self._server.stdout.readline())
            out, err = (Path(path).read_text("utf-8") for path in paths)
        return subprocess.CompletedProcess([module, *args], code, out, err)


@cache
def fork_server() -> ForkServer:
    """The one of this process."""
    return ForkServer()


def serve() -> dict[str, Any] | None:
    """Forks for each job on stdin and answers with its exit code; in a child, returns the job."""
    models = False
    for line in sys.stdin:
        job: dict[str, Any] = json.loads(line)
        if not models and job["module"].startswith(("train.", "eval.")):
            import_models()
            models = True
        if os.fork() == 0:
            return job
        _, status = os.wait()
        print(os.waitstatus_to_exitcode(status), flush=True)
    return None


def import_models() -> None:
    """Imports what train's and eval's commands ask diffusers and transformers for."""
    import diffusers
    import transformers

    for name in ("AutoencoderKL", "DPMSolverMultistepScheduler", "PixArtTransformer2DModel"):
        getattr(diffusers, name)  # is imported when it is asked for
    for name in ("CLIPVisionModelWithProjection", "T5EncoderModel"):
        getattr(transformers, name)
    gc.freeze()  # the collector writes to what it looks at


def become(job: dict[str, Any]) -> None:
    """Runs the module of a job as this process."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    files = [nothing, *(os.open(path, os.O_WRONLY | os.O_CREAT) for path in job["paths"])]
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.chdir(job["cwd"])
    sys.path[0] = job["cwd"]
    sys.argv = [job["module"], *job["args"]]
    code: Any = 0
    try:
        runpy.run_module(job["module"], run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        code = stop.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    # to take the interpreter down would copy every page that it shares, for seconds
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    import torch.utils.tensorboard  # noqa: F401

    gc.freeze()
    if todo := serve():
        become(todo)
    os._exit(0)  # as its children leave
