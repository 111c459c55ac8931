"""The papers are true: commands run, files exist, columns are explained."""

import functools
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from bench.s3 import s3_server
from tests.ray_nodes import two_nodes
from toolkit.store.layout import Layout

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
LINES = [
    line.split("  #")[0].strip()
    for kind, block in BLOCKS
    if not kind
    for line in block.splitlines()
]
COMMANDS = [line for line in LINES if line.startswith("python -m ")]


def run(
    line: str, folder: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess:
    args = shlex.split(line)
    return subprocess.run(
        [sys.executable, *args[1:]],
        cwd=folder,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.fixture(scope="module")
def workplace(sample_data: Layout, tmp_path_factory) -> Path:
    """A folder as a user has it: shards/ and manifests/ with the sample data, and own pictures."""
    folder = tmp_path_factory.mktemp("workplace")
    shutil.copytree(sample_data.shards, folder / "shards")
    shutil.copytree(sample_data.manifests, folder / "manifests")
    from toolkit.painting.photographs import load
    from toolkit.store.images import encode_jpeg

    for style in ("wood", "stone"):
        (folder / "my_pictures" / style).mkdir(parents=True)
        for name in ("coffee", "chelsea"):
            path = folder / "my_pictures" / style / f"{name}.jpg"
            path.write_bytes(encode_jpeg(load(name)))
            path.with_suffix(".txt").write_text(f"{name} in {style}\n")
    (folder / "styles" / "03" / "images").mkdir(parents=True)
    (folder / "styles" / "03" / "images" / "cup.jpg").write_bytes(encode_jpeg(load("coffee")))
    (folder / "styles" / "03" / "prompt.json").write_text('{"0": "Dolphin"}')
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with two_nodes() as address:
        yield address


def test_readme_has_the_commands_of_the_contract() -> None:
    assert len(COMMANDS) > 10
    modules = "toolkit.pack toolkit.query toolkit.inspect toolkit.verify toolkit.plan toolkit.pairs"
    for module in [
        *modules.split(),
        "toolkit.encode",
        "toolkit.teach",
        "toolkit.export",
        "train.run",
        "train.stylize",
        "eval.run",
        "eval.report",
    ]:
        assert f"python -m {module}" in README


# scores are queried where a run was scored: tests/e2e/test_train_commands.py
DATA_COMMANDS = [c for c in COMMANDS if c.startswith("python -m toolkit.") and "demo-out" not in c]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(line, marks=pytest.mark.slow) if "--engine=ray" in line else line
        for line in DATA_COMMANDS
    ],
)
def test_data_commands_of_the_readme_run(
    line: str, workplace: Path, request: pytest.FixtureRequest
) -> None:
    if "--engine=ray" in line:
        address = request.getfixturevalue("cluster")
        done = run(line, workplace, {"RAY_ADDRESS": address, "PYTHONPATH": str(ROOT)})
    elif "s3://" in line:  # what was packed, in a real S3 API server
        with s3_server(workplace) as proxy:
            own = {"TESSERA_CACHE": str(workplace / "cache")}
            done = run(line, workplace, {**proxy.environment, **own})
    else:
        done = run(line, workplace)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    if line.startswith("python -m toolkit.query") and "status='failed'" not in line:
        assert len(done.stdout.splitlines()) > 1, "an example that finds nothing explains nothing"
        assert "0 rows" not in done.stdout


def test_the_python_of_the_readme_runs(workplace: Path) -> None:
    blocks = [block for kind, block in BLOCKS if kind == "python"]
    # the pipeline of an adapter needs one: tests/e2e/test_style_adapter_commands.py
    code = "\n".join(block for block in blocks if "StyleAdapterPipeline" not in block)
    check = "\nprint(len(pictures), batch.images['style'].pixels.shape, state['position'])"
    done = run(f"python -c {shlex.quote(code + check)}", workplace)
    assert done.returncode == 0, done.stderr
    number, *shape, position = done.stdout.split()
    assert int(number) > 50
    assert (" ".join(shape), position) == ("torch.Size([8, 3, 256, 256])", "800")


@functools.cache
def help_of(*words: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", *words, "--help"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    ).stdout  # fmt: skip


@pytest.mark.parametrize("line", COMMANDS)
def test_every_flag_of_the_readme_is_known(line: str) -> None:
    check_flags(line)


def check_flags(line: str) -> None:
    """Fails where a command of a page has a flag that its --help does not know."""
    args = shlex.split(line)[2:]
    words = list(itertools.takewhile(lambda word: re.fullmatch(r"[a-z]+", word), args[1:]))
    depth = (
        len(words[:2])
        if args[0] == "toolkit.teach"
        else int(args[0] in ("toolkit.inspect", "train.lora") or words[:1] == ["push"])
    )
    known = help_of(*args[: 1 + depth])
    for arg in args[1:]:
        flag = re.match(r"--([a-z_.]+)", arg)
        if flag:
            assert re.search(rf"--([a-z_]+\.)*{re.escape(flag[1])}\b", known), flag[0]


def test_links_and_paths_exist() -> None:
    pages = [str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")]
    pages += [f"train/methods/{method}/README.md" for method in ("ot_cfm", "dreambooth_lora")]
    for name in ("README.md", "README.zh-CN.md", "ARCHITECTURE.md", *pages):
        text = (ROOT / name).read_text("utf-8")
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / name).parent.joinpath(target).exists(), f"{name}: {target}"
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    for path in re.findall(r"`((?:toolkit|train|eval|tests)/[a-z_/.]+)`", text):
        assert (ROOT / path).exists(), path


def test_requirements_name_no_host() -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    assert "torch==2.15.0" in lock
    assert "://" not in lock
    assert "--" not in lock


def test_packages_of_pyproject_are_the_packages_there_are() -> None:
    import tomllib

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {
        ".".join(p.parent.relative_to(ROOT).parts)
        for top in ("toolkit", "train", "eval")
        for p in (ROOT / top).rglob("__init__.py")
    }
    assert set(listed) == there


def test_what_packages_hold_besides_code_is_installed_with_them() -> None:
    import tomllib

    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    patterns = tool["setuptools"]["package-data"]
    beside_code = [
        path for top in ("toolkit", "train", "eval") for path in (ROOT / top).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    ]  # fmt: skip
    assert {path.suffix for path in beside_code} >= {".toml", ".md", ".mk", ".safetensors", ".json"}
    for path in beside_code:
        owners = [
            package for package, globs in patterns.items()
            if any(path in (ROOT / package.replace(".", "/")).glob(glob) for glob in globs)
        ]  # fmt: skip
        assert owners, path
