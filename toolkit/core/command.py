"""Runs a function, or a dictionary of functions, as a command-line program.

fire does the calling; what it leaves open is settled here before it starts: unknown flags, missing
and surplus arguments and values of the wrong type are refused in one line with exit code 2, and
`--help` is made from signatures and docstrings, so it answers without running anything.
An output that takes no more (`| head`, a full disk) ends the program without a traceback.

Flags are written with underscores and accepted with dashes.
"""

import atexit
import contextlib
import errno
import inspect
import json
import keyword
import os
import re
import signal
import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

from toolkit.core import log
from toolkit.core.coerce import FALSE, TRUE, coerce
from toolkit.core.described import Values, described
from toolkit.core.errors import UserError, one_line
from toolkit.core.nearest import nearest, suggestion

_FEW = 8  # flags that are worth listing
AS_JSON = "--help=json"
_OF_ALL = ("help", "quiet", "log")
_OF_ALL_HELP = "  --quiet, --log=MODE  what is said on stderr: quiet, plain, colour or json"
Command = Callable[..., None]
Commands = Mapping[str, "Command | Commands"]
Fields = Callable[[list[str], Mapping[str, str]], tuple[str, Mapping[str, str]]]


def run(
    command: Command | Commands,
    name: str,
    argv: Sequence[str] | None = None,
    fields: Fields | None = None,
    is_first: bool = True,
    values: Values | None = None,
) -> None:
    """Runs `command` with the program's arguments and leaves with its exit code.

    Args:
        command: the function to call, or sub-command names with their functions, or with such
            mappings again; the name "" stands for no sub-command, and for words that name none
            where its function takes one.
        name: how the program is started, for example `python -m toolkit.query`.
        argv: arguments; those of the process by default.
        fields: for a command, not a sub-command, that takes further flags, also dotted ones: called
            with the positional arguments and the flags, it returns a title and the names with their
            help.
        is_first: of several processes that are given the same arguments, the first one says what is
            wrong with them.
        values: those that are known for parameters, for programs that complete what is typed.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(log.speaking(log.asked_mode(args)))
        except UserError as error:  # said as it would be without
            stack.enter_context(log.speaking("plain"))
            _refuse(one_line(error, 800), error.exit_code)
        _run(command, name, args, fields, is_first, values)


def _run(
    command: Command | Commands, name: str, args: list[str], fields: Fields | None,
    is_first: bool, values: Values | None,
) -> None:  # fmt: skip
    try:
        if AS_JSON in args:
            print(json.dumps(_as_values(command, args, fields, values)))
            return
        _dispatch(command, name, args, fields, is_first)
        sys.stdout.flush()  # here, where a failure still has an answer
    except UserError as error:
        _refuse(one_line(error, 800), error.exit_code)
    except BrokenPipeError:  # the reader went away, as `| head` does
        _discard_output()
        raise SystemExit(141) from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            _refuse(f"file name too long: {str(error.filename)[:60]}…")
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _discard_output()
        where = error.filename or "the output"
        _refuse(f"no space left for {where}: free some and try again")
    except KeyboardInterrupt as stop:  # its text says how to go on
        _interrupted(stop)
    except RuntimeError as error:  # what a second interrupt makes of a lock that is held for a wait
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        _interrupted(error.__context__)


def _as_values(
    command: Command | Commands, args: list[str], fields: Fields | None, values: Values | None
) -> dict[str, Any]:
    """What `--help` says of a command and its sub-commands."""
    if isinstance(command, Mapping):
        parts = {key: _as_values(c, args, fields if not key else None, values)
                 for key, c in command.items()}  # fmt: skip
        return {**parts.pop("", {"summary": "", "parameters": []}), "commands": parts}
    given = _split([arg for arg in args if arg != AS_JSON], {})
    return described(
        command, argument_texts(command), fields(*given)[1] if fields else {},
        values(*given) if values else {},
    )  # fmt: skip


def _refuse(text: str, exit_code: int = 2) -> NoReturn:
    log.error(text, exit_code)
    raise SystemExit(exit_code) from None


def _interrupted(stop: BaseException) -> NoReturn:
    # Another interrupt while the interpreter ends would make the exit code that of a signal: until
    # threads are joined it ends at once with the code of this one, then nothing is left to stop.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    log.warn(": ".join(["interrupted", *map(str, stop.args)]))
    raise SystemExit(130) from None


def _discard_output() -> None:
    """Keeps the interpreter from flushing the rest of the output when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(
    command: Command | Commands,
    name: str,
    args: list[str],
    fields: Fields | None,
    is_first: bool = True,
) -> None:
    flags_help = {"--help", "-h"}
    if isinstance(command, Mapping):
        named, default = {key: c for key, c in command.items() if key}, command.get("")
        if args and args[0] in named:
            _dispatch(named[args[0]], f"{name} {args[0]}", args[1:], None)
        elif default is not None and (not args or args[0].startswith("-") or _takes_words(default)):
            _dispatch(default, name, args, fields)
            if flags_help.intersection(args):
                print("\n" + _overview(named, name))
        elif not args or args[0] in flags_help:
            print(_overview(named, name))
        else:
            raise UserError(f"unknown sub-command {args[0]!r}: {suggestion(args[0], named, 0.5)}")
        return
    if flags_help.intersection(args):
        given = _split([arg for arg in args if arg not in flags_help], {})
        print(_help(command, name) + (_fields_help(fields(*given)) if fields else ""))
        return
    _call(command, args, name, fields, is_first)


def _takes_words(command: Command | Commands) -> bool:
    if isinstance(command, Mapping):
        return False
    kinds = {p.kind for p in inspect.signature(command).parameters.values()}
    return inspect.Parameter.POSITIONAL_OR_KEYWORD in kinds


def _call(
    command: Command, args: list[str], name: str, fields: Fields | None, is_first: bool
) -> None:
    hints = typing.get_type_hints(command)
    try:
        texts = _bind(command, args, name, hints, fields)
        values = {key: coerce(text, hints.get(key, Any), f"--{key}") for key, text in texts.items()}
    except UserError as error:
        if is_first:
            raise
        raise SystemExit(error.exit_code) from None

    try:
        import fire
    except ImportError:  # what tells that it is missing has to run without it
        command(**values)
        return

    def entry(**arguments: str) -> None:
        command(**{key: values[key] for key in arguments})

    # fire guesses types from texts; what arrives is looked up in `values` instead.
    fire.Fire(entry, command=[f"--{key}={text}" for key, text in texts.items()], name=name)


def _bind(
    command: Command, args: list[str], name: str, hints: dict[str, Any], fields: Fields | None
) -> dict[str, str]:
    """Checks the names of `args` against the signature; raises UserError."""
    signature = inspect.signature(command)
    parameters = {p.name: p for p in signature.parameters.values() if p.kind != p.VAR_KEYWORD}
    positional, flags = _split(args, hints)
    slots = [p.name for p in parameters.values() if p.kind == p.POSITIONAL_OR_KEYWORD]
    if len(positional) > len(slots):
        surplus = positional[len(slots)]
        raise UserError(f"unexpected argument {surplus!r}: see {name} --help")
    texts = dict(zip(slots, positional, strict=False))
    for flag, text in flags.items():
        if flag in texts and flag in slots:
            raise UserError(f"{flag} is given twice: as an argument and as --{flag}")
        name_of = flag
        if flag not in parameters:
            dotted = list(fields(positional, flags)[1]) if fields else []
            name_of = field_of(flag, parameters, dotted)
        if name_of in texts:
            raise UserError(f"--{name_of} is given twice: keep one")
        texts[name_of] = text
    for slot in parameters.values():
        if slot.default is slot.empty and slot.name not in texts:
            flag = f"--{slot.name.rstrip('_')}=…"
            shown = slot.name if slot.kind == slot.POSITIONAL_OR_KEYWORD else flag
            raise UserError(f"{shown} is missing: see {name} --help")
    return texts


def _split(args: list[str], hints: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Separates positional arguments from flags; `--flag` alone means true for a bool."""
    positional: list[str] = []
    flags: dict[str, str] = {}
    queue = list(args)
    while queue:
        arg = queue.pop(0)
        if not re.match(r"--?[A-Za-z]", arg):
            positional.append(arg)
            continue
        flag, equals, text = arg.lstrip("-").partition("=")
        flag = flag.replace("-", "_")
        flag += "_" * keyword.iskeyword(flag)  # a parameter of Python cannot be called `as`
        if not equals:
            text = _value_of(flag, queue, hints)
        if flag in flags:
            raise UserError(f"--{flag} is given twice: keep one")
        flags[flag] = text
    return positional, flags


def _value_of(flag: str, queue: list[str], hints: dict[str, Any]) -> str:
    if hints.get(flag) is bool:
        is_literal = bool(queue) and queue[0].lower() in (TRUE | FALSE) - {"1", "0"}
        return queue.pop(0) if is_literal else "true"
    if queue and not re.match(r"--[A-Za-z]", queue[0]):
        return queue.pop(0)
    if flag in hints:
        raise UserError(f"--{flag} needs a value: write --{flag}=VALUE")
    return "true"


def field_of(flag: str, plain: Iterable[str], dotted: list[str]) -> str:
    """The field that a flag sets: its whole name, or an end that no other has (save_interval,
    adapter.layers). Raises UserError for an unknown one. plain: flags that are no fields."""
    by_end = [field for field in dotted if field.endswith(f".{flag}")]
    if flag in dotted:
        return flag
    if len(by_end) != 1:
        raise UserError(f"unknown flag --{flag}: {_suggest_flag(flag, plain, dotted)}")
    return by_end[0]


def _suggest_flag(flag: str, plain: Iterable[str], dotted: list[str]) -> str:
    """A dotted flag is found by its last part too: --lr means --optim.lr."""
    leaves = {name.rpartition(".")[2] for name in dotted}
    wanted = nearest(flag.rpartition(".")[2], leaves, 0.8)
    by_leaf = [name for name in dotted if name.rpartition(".")[2] == wanted]
    in_group = [name for name in dotted if name.startswith(f"{flag}.")]
    near = nearest(flag, [*plain, *dotted, *_OF_ALL])
    found = by_leaf or ([near] if near else in_group)
    if found:
        return f"did you mean {' or '.join(f'--{name}' for name in found[:3])}?"
    known = [*plain, *dotted] if len(dotted) <= _FEW else [*plain, "the fields listed by --help"]
    return f"known: {', '.join(known)}"


def _fields_help(fields: tuple[str, Mapping[str, str]]) -> str:
    title, texts = fields
    return "\n".join([f"\n\n{title}", *(f"  {text}" for text in texts.values())])


def _overview(commands: Commands, name: str) -> str:
    width = max(map(len, commands))
    rows = [f"  {key:<{width}}  {_summary(fn)}" for key, fn in commands.items()]
    return "\n".join([f"usage: {name} COMMAND [--flags]", "", *rows, "", f"{name} COMMAND --help"])


def _summary(command: Command | Commands) -> str:
    if isinstance(command, Mapping):
        return ", ".join(command)
    return (inspect.getdoc(command) or "").split("\n\n")[0].replace("\n", " ")


def argument_texts(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """A docstring's body, and the text of each argument that its section `Args` explains."""
    body, _, rest = (inspect.getdoc(function) or "").partition("\nArgs:\n")
    args = rest.partition("\n\n")[0]
    found = re.findall(r"^    (\w+): ((?:.|\n(?!    \w+: ))*)", args, re.MULTILINE)
    return body, {name: " ".join(text.split()) for name, text in found}


def _help(command: Command, name: str) -> str:
    body, described = argument_texts(command)
    lines, usage = [body.strip(), ""], [f"usage: {name}"]
    for p in inspect.signature(command).parameters.values():
        if p.kind == p.VAR_KEYWORD:
            usage.append(f"[--{p.name}]" if "." in p.name else "[--a.b=VALUE]")
            continue
        positional = p.kind == p.POSITIONAL_OR_KEYWORD
        flag = p.name.rstrip("_")
        shown = p.name.upper() if positional else f"--{flag}=…"
        usage.append(f"[{shown}]" if p.default is not p.empty else shown)
        default = "" if p.default in (p.empty, None) else f" (default: {p.default})"
        text = described.get(p.name, "")
        lines.append(f"  {shown if positional else '--' + flag:<18} {text}{default}")
    return "\n".join([" ".join(usage), "", *lines, "", _OF_ALL_HELP])
