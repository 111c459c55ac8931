"""Writes what a run trained as a folder for other programs.

python -m train.export --run=runs/cubism --out=cubism-adapter
"""

from pathlib import Path

from toolkit.core.command import run as run_command
from toolkit.core.errors import UserError


def main(*, run: Path, out: Path, checkpoint: Path | None = None, overwrite: bool = False) -> None:
    """Writes the trained weights, without what was frozen, with their settings and a card.

    Args:
        run: the run's folder, for example runs/demo.
        out: the folder to write, which is new or empty.
        checkpoint: a checkpoint by folder or name, as step-000100; the last one otherwise.
        overwrite: replace files of these names in a folder that holds some, and leave its others.
    """
    from train.methods.api import Exports
    from train.runs import load_config, open_run
    from train.trained import load_trained

    if not overwrite and (out.is_file() or (out.is_dir() and any(out.iterdir()))):
        raise UserError(f"{out} holds something: name another --out, or write there by --overwrite")
    folder = open_run(run)
    settings = load_config(folder.config)
    trained = load_trained(folder, settings, checkpoint)
    if not isinstance(trained.method, Exports):
        raise UserError(f"{run}: there is nothing that a run of this kind exports")
    written = trained.method.export(out, trained.identity)
    print(f"{out}: {', '.join(sorted(written))}")


if __name__ == "__main__":
    run_command(main, "python -m train.export")
