"""The rules of the house: who may import whom, nothing happens at import, files stay readable."""

import ast
import importlib
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("toolkit", "train", "eval")
FILES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
MAX_LINES = 350

# A layer may import itself, layers below it, and nothing else of the project.
LAYERS = {
    "toolkit.core": (),
    "toolkit.measures": ("toolkit.core",),
    "toolkit.store": ("toolkit.core",),
    "toolkit.painting": ("toolkit.core",),
    "toolkit.cluster": ("toolkit.core",),
    "toolkit.wikiart": ("toolkit.core", "toolkit.store"),
    "toolkit.teachers": (
        "toolkit.core",
        "toolkit.measures",
        "toolkit.store",
        "toolkit.painting",
        "toolkit.encoders",
    ),
    "toolkit.pairing": ("toolkit.core", "toolkit.store"),
    "toolkit.checkup": ("toolkit.core", "toolkit.store"),
    "toolkit.completing": ("toolkit.core",),
    "toolkit.inspection": ("toolkit.core", "toolkit.store"),
    "toolkit.exporting": ("toolkit.core", "toolkit.store"),
    "toolkit.duplicates": (
        "toolkit.core",
        "toolkit.measures",
        "toolkit.store",
        "toolkit.packing",
    ),
    "toolkit.teaching": (
        "toolkit.core",
        "toolkit.measures",
        "toolkit.store",
        "toolkit.packing",
        "toolkit.pairing",
        "toolkit.teachers",
        "toolkit.encoders",
    ),
    "toolkit.sources": (
        "toolkit.core",
        "toolkit.measures",
        "toolkit.store",
        "toolkit.painting",
        "toolkit.teachers",
        "toolkit.wikiart",
    ),
    "toolkit.packing": ("toolkit.core", "toolkit.measures", "toolkit.store", "toolkit.sources"),
    "toolkit.stream": ("toolkit.core", "toolkit.measures", "toolkit.store"),
    "toolkit.encoders": ("toolkit.core",),
    "toolkit.encoding": ("toolkit.core", "toolkit.store", "toolkit.stream", "toolkit.encoders"),
    "toolkit": ("toolkit",),
    "train.parts": (),
    "train.lora": ("toolkit.core", "toolkit.encoders"),
    "train.methods": (
        "toolkit.core",
        "toolkit.store",
        "toolkit.stream",
        "toolkit.encoders",
        "train.parts",
        "train.lora",
    ),
    "train": ("toolkit", "train"),
    "eval": ("toolkit", "eval", "train"),  # train: one file only, see below
}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def layer_of(module: str) -> str:
    return max((x for x in LAYERS if f"{module}.".startswith(f"{x}.")), key=len)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(names: set[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] in PACKAGES}


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_point_downwards(path: Path) -> None:
    layer = layer_of(module_of(path))
    allowed = (layer, *LAYERS[layer])
    for name in ours(imports(path)):
        assert any(f"{name}.".startswith(f"{x}.") for x in allowed), f"{layer} imports {name}"


def test_the_import_check_sees_a_forbidden_import() -> None:
    assert layer_of("toolkit.store.tar") == "toolkit.store"
    assert "toolkit.stream" not in LAYERS["toolkit.store"]


def test_only_the_bridge_of_eval_reaches_train() -> None:
    reaching = [
        p.name
        for p in FILES
        if p.is_relative_to(ROOT / "eval") and any(n.startswith("train") for n in imports(p))
    ]
    assert reaching == ["bridge.py"]


def test_methods_do_not_import_each_other() -> None:
    folder = ROOT / "train" / "methods"
    for path in folder.rglob("*.py"):
        owner = path.relative_to(folder).parts[0]
        for name in ours(imports(path)):
            match = re.match(r"train\.methods\.([a-z_]+)\.", f"{name}.")
            if match and (folder / match[1]).is_dir() and (folder / owner).is_dir():
                assert match[1] == owner, f"{path} imports {name}"


def test_the_loop_names_no_method() -> None:
    names = [p.name for p in (ROOT / "train" / "methods").iterdir() if (p / "method.py").exists()]
    assert names
    for file in ("loop.py", "state.py", "log.py", "optim.py", "watch.py", "pictures.py"):
        text = (ROOT / "train" / file).read_text("utf-8")
        assert not [name for name in names if name in text], file


def test_parts_import_torch_and_scipy_only() -> None:
    allowed = {
        "torch",
        "scipy",
        "typing",
        "collections",
        "contextlib",
        "itertools",
        "math",
        "dataclasses",
        "train",
    }
    for path in (ROOT / "train" / "parts").glob("*.py"):
        assert {name.split(".")[0] for name in imports(path)} <= allowed, path


def test_core_imports_the_standard_library_fire_and_tqdm_only() -> None:
    allowed = set(sys.stdlib_module_names) | {"toolkit", "fire", "tqdm"}
    for path in (ROOT / "toolkit" / "core").glob("*.py"):
        assert {name.split(".")[0] for name in imports(path)} <= allowed, path


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_files_are_short_and_explained(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") <= MAX_LINES
    tree = ast.parse(text)
    assert ast.get_docstring(tree), f"{path} has no docstring"
    for node in ast.walk(tree):
        public = isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
        nested = isinstance(node, ast.FunctionDef) and node.col_offset > 4
        if public and not nested and node in [*tree.body, *_methods(tree)]:
            assert ast.get_docstring(node), f"{path}: {node.name} has no docstring"


def _methods(tree: ast.Module) -> list[ast.AST]:
    classes = [n for n in tree.body if isinstance(n, ast.ClassDef) and not n.name.startswith("_")]
    return [m for c in classes for m in c.body if isinstance(m, ast.FunctionDef)]


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_nothing_happens_at_import(path: Path) -> None:
    """At module level stand definitions, imports and constants; no loops, calls or prints."""
    allowed = (
        ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign,
    )  # fmt: skip
    for node in ast.parse(path.read_text("utf-8")).body:
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_main = isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
        assert isinstance(node, allowed) or is_text or is_main, ast.unparse(node)[:80]
        if isinstance(node, ast.Assign):
            for call in (n for n in ast.walk(node.value) if isinstance(n, ast.Call)):
                name = ast.unparse(call.func)
                assert not re.search(r"open|mkdir|environ|Path\.cwd|load|read", name), name


def loaded_by(code: str) -> set[str]:
    script = f"import sys, json\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_the_data_engine_works_without_torch() -> None:
    """Everything of toolkit but three rooms and one file, imported in a fresh process."""
    with_torch = ("stream/", "encoders/", "encoding/", "teachers/sdxl_pipeline.py")
    free = [
        module_of(p)
        for p in FILES
        if p.is_relative_to(ROOT / "toolkit")
        and not p.relative_to(ROOT / "toolkit").as_posix().startswith(with_torch)
    ]
    code = "import importlib\n" + "\n".join(f"importlib.import_module({m!r})" for m in free)
    loaded = loaded_by(code)
    assert "pyarrow" in loaded
    assert not loaded & {"torch", "diffusers", "transformers", "torchvision", "lpips"}


@pytest.mark.parametrize(
    "module",
    ["toolkit.pack", "toolkit.query", "toolkit.inspect", "toolkit.verify", "toolkit.plan",
     "toolkit.encode", "toolkit.export", "toolkit.pairs", "toolkit.teach", "toolkit.doctor",
     "toolkit.completion", "train.run", "train.stylize", "eval.run",
     "eval.report"],
)  # fmt: skip
def test_help_answers_without_heavy_libraries(module: str) -> None:
    code = f"""
import runpy
sys.argv = [{module!r}, "--help"]
try:
    runpy.run_module({module!r}, run_name="__main__")
except SystemExit as error:
    assert not error.code, error.code
"""
    assert not loaded_by(code) & {"torch", "diffusers", "transformers", "duckdb", "skimage"}


def test_no_registry_hosts_and_no_vague_names() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout.split()
    vague = re.compile(r"(^|/)(utils?|helpers?|misc|common|stuff)\.py$")
    assert not [name for name in tracked if vague.search(name)]
    hosts = re.compile("python" + r"hosted|py" + r"pi\.org|npm" + "js|deb" + r"ian\.org")
    for name in tracked:
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".lock", "") and path.is_file():
            assert not hosts.search(path.read_text("utf-8", errors="ignore")), name


@pytest.mark.parametrize("path", sorted((ROOT / "bench").glob("*.py")), ids=lambda path: path.stem)
def test_what_benchmarks_import_of_the_project_is_there(path: Path) -> None:
    """Hours may pass before one of them comes to an import inside a function."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            top = node.module.partition(".")[0]
            if top not in (*PACKAGES, "bench"):
                continue
            module = importlib.import_module(node.module)
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                there = hasattr(module, name.name) or importlib.util.find_spec(whole)
                assert there, f"{path.name}: {whole}"
