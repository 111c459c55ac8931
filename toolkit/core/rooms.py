"""The commands of a room, such as toolkit: files that can be started with `python -m`."""

import ast
import sys
from pathlib import Path

from toolkit.core import log
from toolkit.core.nearest import suggestion


def commands(room: Path) -> dict[str, str]:
    """Each command below a package's folder by its name, with the first line of what it says of
    itself."""
    found = {}
    for path in sorted([*room.glob("[!_]*.py"), *room.glob("*/__main__.py")]):
        text = path.read_text("utf-8")
        if 'if __name__ == "__main__":' in text:
            name = path.parent.name if path.stem == "__main__" else path.stem
            about = ast.get_docstring(ast.parse(text)) or ""
            found[f"{room.name}.{name}"] = about.split("\n")[0]
    return dict(sorted(found.items()))


def tell(room: Path, words: list[str]) -> int:
    """Lists the commands, or says which one a word may mean. Returns the exit code."""
    there = commands(room)
    asked = next((word for word in words if not word.startswith("-")), "")
    if not asked:
        width = max(map(len, there))
        print(f"usage: python -m {room.name}.COMMAND …\n")
        print("\n".join(f"  {name:<{width}}  {text}" for name, text in there.items()))
        return 0
    names = [name.partition(".")[2] for name in there]
    said = (
        f"a dot, as in python -m {room.name}.{asked}"
        if asked in names
        else suggestion(asked, names)
    )
    log.error(f"python -m {room.name} takes no {asked!r}: {said}", 2)
    return 2


def main(room: str) -> None:
    """For the `__main__.py` of a room. room: the path of that file."""
    sys.exit(tell(Path(room).parent, sys.argv[1:]))
