"""The doctor in a second process: in an environment that works, and in ones that do not."""

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from toolkit.store.layout import Layout

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def doctor(
    folder: Path, *args: str, env: Mapping[str, str] | None = None, shims: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """shims: a folder of modules that stand before the installed ones."""
    path = os.pathsep.join(map(str, [*([shims] if shims else []), ROOT]))
    own = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TESSERA_"))}
    own |= {"XDG_CACHE_HOME": str(folder / "cache"), "TORCH_HOME": str(folder / "torch")}
    return subprocess.run(
        [sys.executable, "-m", "toolkit.doctor", *args], cwd=folder, capture_output=True,
        text=True, check=False, env={**own, "PYTHONPATH": path, **(env or {})},
    )  # fmt: skip


def by_part(text: str) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for one in json.loads(text):
        found.setdefault(one["part"], {}).setdefault(one["what"], one)
    return found


@pytest.fixture
def hub() -> Iterator[tuple[str, list[str]]]:
    """A server in the hub's place that notes what it is asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


def in_the_hubs_cache(cache: Path, hub_id: str, *files: str) -> None:
    place = cache / "huggingface" / "hub" / f"models--{hub_id.replace('/', '--')}"
    revision = "0" * 40
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(revision)
    for name in files:
        path = place / "snapshots" / revision / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 3_000_000)


def test_an_environment_that_works(
    triplets: Layout, tmp_path: Path, hub: tuple[str, list[str]]
) -> None:
    folder = triplets.shards.parent
    in_the_hubs_cache(folder / "cache", "madebyollin/taesd", "model.safetensors", "config.json")
    in_the_hubs_cache(folder / "cache", "facebook/dino-vits16", "config.json")  # no weights came
    in_the_hubs_cache(folder / "cache", "stabilityai/stable-diffusion-xl-base-1.0",
                      "unet/diffusion_pytorch_model.fp16.safetensors")  # fmt: skip
    checkpoints = folder / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "vgg16-397923af.pth").write_bytes(b"x" * 2_000_000)
    done = doctor(folder, "--format=json", env={"HF_ENDPOINT": hub[0]})
    assert done.returncode == 0, done.stdout + done.stderr
    assert hub[1] == []
    found = by_part(done.stdout)
    assert {"python", "packages", "libraries", "machine", "disk", "data", "weights", "gpu",
            "optional"} == set(found)  # fmt: skip
    assert found["libraries"]["torchvision fits torch"]["state"] == "ok"
    assert found["data"]["targets"]["state"] == "ok"
    weights = found["weights"]
    # what the README names as default weights of encoders
    table = README.partition("| `--encoder` |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`([\w.-]+/[\w.-]+)`", table))
    assert len(named) > 5
    assert all(any(what.startswith(name) for what in weights) for name in named)
    assert weights["madebyollin/taesd"]["state"] == "ok"
    assert weights["madebyollin/taesd"]["found"].startswith("6 MB in ")
    vgg = weights["vgg16-397923af.pth"]
    assert vgg["state"] == "ok"
    assert "2 MB in" in vgg["found"]
    assert "metric lpips_vgg" in vgg["found"] or "more" in vgg["found"]
    assert weights["facebook/dino-vits16"]["state"] == "missing"
    taef2 = weights["madebyollin/taef2"]
    assert (taef2["state"], taef2["mend"]) == ("missing", "hf download madebyollin/taef2")
    sdxl = [one for one in json.loads(done.stdout)
            if one["what"] == "stabilityai/stable-diffusion-xl-base-1.0"]  # fmt: skip
    of_teacher = next(one for one in sdxl if "protocol a-fixed" in one["found"])
    of_method = next(one for one in sdxl if "pixel_sdxl" in one["found"])
    assert (of_teacher["state"], of_method["state"]) == ("ok", "missing")


def test_a_torchvision_that_crashes_is_told_and_all_else_is_looked_at(tmp_path: Path) -> None:
    shims = tmp_path / "shims"
    (shims / "torchvision").mkdir(parents=True)
    # as a library that is compiled against another torch does
    (shims / "torchvision" / "__init__.py").write_text("import os; os.abort()\n")
    (shims / "fire.py").write_text("raise ImportError('no fire')\n")  # runs what is called
    done = doctor(tmp_path, shims=shims)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert re.search(r"ok +torch computes", done.stdout)
    assert re.search(
        r"broken +torchvision fits torch +torchvision.ops.nms fails: killed by SIGABRT", done.stdout
    )
    assert "→ pip install --force-reinstall torch torchvision" in done.stdout
    assert re.search(r"ok +CPU cores", done.stdout)
    assert re.search(r"missing +packed data", done.stdout)


def test_a_torch_that_cannot_be_imported_is_told(tmp_path: Path) -> None:
    shims = tmp_path / "shims"
    shims.mkdir()
    (shims / "torch.py").write_text("raise OSError('libcudart.so.13: no such file')\n")
    done = doctor(tmp_path, "--format=json", shims=shims)
    assert done.returncode == 1, done.stderr
    assert done.stderr == ""
    found = by_part(done.stdout)
    torch = found["libraries"]["torch computes"]
    assert torch["state"] == "broken"
    assert "libcudart.so.13" in torch["found"]
    assert found["weights"]["pretrained weights"]["state"] == "warning"
    assert found["machine"]["CPU cores"]["state"] == "ok"
