"""Prints a script that completes the commands of this program in a shell.

python -m toolkit.completion bash > ~/.tessera.bash    # in ~/.bashrc: source ~/.tessera.bash
python -m toolkit.completion zsh > ~/.tessera.zsh      # in ~/.zshrc: source ~/.tessera.zsh
python -m toolkit.completion fish > ~/.config/fish/conf.d/tessera.fish
"""

import importlib
from typing import Literal

from toolkit.completing.commands import entries
from toolkit.core.command import run


def main(shell: Literal["bash", "zsh", "fish"]) -> None:
    """Prints a script: behind `python -m`, the tab key completes commands, sub-commands, flags and
    their values; datasets and runs are those of the folder at hand.

    Other uses of python are completed as before. The script knows the commands as they are now:
    print it again after an update.

    Args:
        shell: bash, zsh or fish.
    """
    print(importlib.import_module(f"toolkit.completing.{shell}").script(entries()), end="")


if __name__ == "__main__":
    run(main, "python -m toolkit.completion")
