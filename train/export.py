"""Writes what a run trained as a folder for other programs.

python -m train.export --run=runs/cubism --out=cubism-adapter
"""

from pathlib import Path

from toolkit.core.command import run as run_command
from toolkit.core.errors import UserError


def main(*, run: Path, out: Path, checkpoint: Path | None = None) -> None:
    """Writes the trained weights, without what was frozen, with their settings and a card.

    Args:
        run: the run's folder, for example runs/demo.
        out: the folder to write.
        checkpoint: a checkpoint by folder or name, as step-000100; the last one otherwise.
    """
    from train.methods.api import Exports
    from train.runs import load_config, open_run
    from train.trained import load_trained

    folder = open_run(run)
    settings = load_config(folder.config)
    trained = load_trained(folder, settings, checkpoint)
    if not isinstance(trained.method, Exports):
        raise UserError(f"{run}: there is nothing that a run of this kind exports")
    trained.method.export(out, trained.identity)
    print(f"{out}: {', '.join(sorted(path.name for path in out.iterdir()))}")


if __name__ == "__main__":
    run_command(main, "python -m train.export")
