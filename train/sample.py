"""Draws what a text says with a trained run.

python -m train.sample --run=runs/demo --prompt="a lighthouse" --height=832 --width=1216
"""

from pathlib import Path
from typing import Any

from toolkit.core.command import run as run_command
from toolkit.core.errors import UserError
from train.config import Precision
from train.stylize import main as stylize
from train.stylize import options_of


def main(
    *,
    run: Path,
    prompt: str,
    negative_prompt: str = "",
    out: Path | None = None,
    device: str | None = None,
    precision: Precision = "fp32",
    threads: int | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
    **options: str,
) -> None:
    """Writes one picture, of a method that makes pictures from texts.

    The same as `train.stylize --caption=PROMPT --negative=NEGATIVE_PROMPT`.

    Args:
        run: the run's folder, for example runs/demo.
        prompt: what is to be drawn.
        negative_prompt: what guidance leads away from.
        out: the PNG to write; otherwise runs/NAME/stylized/PROMPT.png, or, where that is there,
            with a number.
        device: cpu, cuda, cuda:1 …; the one of the training otherwise.
        precision: of the arithmetic: fp32, bf16, fp16, or auto as in training.
        threads: of the CPU; those of the training otherwise.
        seed: of the noise.
        checkpoint: a checkpoint by folder or name, as step-000100; the last one otherwise.
    """
    from train.runs import load_config, needs_of, open_run

    if not prompt:
        raise UserError("--prompt=…: say what is to be drawn")
    settings = load_config(open_run(run).config)
    if needs_of(settings).inputs:
        raise UserError(
            f"{run}: {settings.method} makes pictures from pictures: python -m train.stylize"
        )
    how: dict[str, Any] = dict(options)
    if negative_prompt:
        how["negative"] = negative_prompt
    stylize(
        run=run, caption=prompt, out=out, device=device, precision=precision, threads=threads,
        seed=seed, checkpoint=checkpoint, **how,
    )  # fmt: skip


if __name__ == "__main__":
    run_command(main, "python -m train.sample", fields=options_of)
