"""Pretrained weights from a folder or the hub, what they are, and how they are run.

Downloads are the hub library's own, so HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE hold for all.
"""

import hashlib
import warnings
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import is_offline_mode

from toolkit.core.errors import UserError, one_line
from toolkit.core.log import note, shows_bars

PLANNED = "planned"
"""A file in a folder of configurations: models of it have shapes, and no weights (device meta). It
holds the name of the device that they stand for."""
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Pretrained:
    """Weights that an encoder takes by default. hub_id: may go on with a folder inside the
    repository; size: of the download, for people; files: patterns of those that are needed, where
    the repository has many more."""

    hub_id: str
    size: str
    files: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """What gets them."""
        repository, folder = _parts(self.hub_id)
        return download_command(repository, self.files or ((f"{folder}/*",) if folder else ()))


def download_command(repository: str, files: Iterable[str] = ()) -> str:
    """The hub's own command for a repository, or those of its files that fit a pattern."""
    return f"hf download {repository}" + "".join(f' --include="{pattern}"' for pattern in files)


def load_model(
    build: Callable[..., Any], weights: str | None, default: Pretrained, **options: Any
) -> Any:
    """As `load`, of a model, every weight of which has to be there: the libraries would make up
    those that are not. Of a folder with `PLANNED` in it, a model without weights."""
    if weights and (Path(weights) / PLANNED).is_file():
        return _planned(build, Path(weights), options)
    model, info = load(build, weights, default, output_loading_info=True, **options)
    lacking = sorted(info["missing_keys"])
    if lacking:
        raise UserError(
            f"{weights or default.hub_id} lacks {len(lacking)} weights of the model, among them "
            f"{lacking[0]}: it holds another model"
        )
    return model


def load(
    build: Callable[..., Any],
    weights: str | None,
    default: Pretrained,
    flag: str = "--weights",
    **options: Any,
) -> Any:
    """Calls a library's `from_pretrained`, without its messages. What was downloaded before is
    used as it is; a download is announced.

    Args:
        build: the function; it knows `local_files_only`.
        weights: a local folder, or a hub id as ORGANISATION/NAME or ORGANISATION/NAME/FOLDER.
        default: what is taken without weights, and whose size the message tells.
        flag: with which a person names the weights.
        options: given on.

    Raises:
        UserError: nothing usable is there; one line with the command that gets the weights.
    """
    where = weights or default.hub_id
    is_folder = Path(where).is_dir()
    repository, folder = (where, "") if is_folder else _split(where, flag)
    if folder:
        options["subfolder"] = folder
    try:  # the libraries raise anything on files of another kind
        with quiet():
            return build(repository, local_files_only=True, **options)
    except Exception as error:
        if is_folder:
            raise UserError(
                f"{where} holds no usable weights for this encoder: {_brief(error)}; it takes a "
                "folder as `hf download` or save_pretrained make it"
            ) from None
    # of a part of a pipeline, the whole of what is needed is told, where it is known
    is_usual = default.hub_id == where or (default.hub_id == repository and default.files)
    size = f" ({default.size})" if is_usual else ""
    try:
        if not is_offline_mode():
            note(f"fetching {where}{size} from the hub")
        with quiet(with_bars=shows_bars()):
            return build(repository, **options)
    except Exception as error:
        wanted = (default.files if is_usual else ()) or ((f"{folder}/*",) if folder else ())
        raise UserError(
            f"the weights {where}{size} are not on this machine: get them with "
            f"`{download_command(repository, wanted)}`, or name their folder with {flag}=DIR "
            f"[{_brief(error)}]"
        ) from None


def _planned(build: Any, folder: Path, options: Mapping[str, Any]) -> Any:
    """The model of a configuration on the device `meta`. build: the class's `from_pretrained`."""
    kind = build.__self__
    with quiet(), torch.device("meta"):
        if hasattr(kind, "load_config"):  # diffusers
            model = kind.from_config(kind.load_config(folder))
        else:
            model = kind._from_config(kind.config_class.from_pretrained(folder))
    dtype = options.get("dtype", options.get("torch_dtype"))
    if (folder / PLANNED).read_text("utf-8") == "cpu":
        model.planned_dtype = dtype = torch.float32  # where auto is that
    return model if dtype is None else torch.nn.Module.to(model, dtype)


def beside(weights: str, part: str, other: str) -> str:
    """Where another part of a pipeline lies: `…/text_encoder` has `…/tokenizer` beside it. A flat
    folder or repository holds both."""
    head, _, last = weights.rstrip("/").rpartition("/")
    if last == part:
        return f"{head}/{other}"
    folder = Path(weights)
    return str(folder / other) if (folder / other).is_dir() else weights


def inside(weights: str, part: str) -> str:
    """The folder `part` of a pipeline's folder, or the folder itself where it has none."""
    return str(Path(weights) / part) if (Path(weights) / part).is_dir() else weights


def dtype_of(precision: str, device: str) -> tuple[str, torch.dtype]:
    """(name, dtype) of a precision; `auto` is fp32 on a CPU and bf16 elsewhere."""
    if precision == "auto":
        precision = "fp32" if device.startswith("cpu") else "bf16"
    if precision not in _DTYPES:
        raise UserError(f"precision={precision}: choose auto, {', '.join(_DTYPES)}")
    return precision, _DTYPES[precision]


def ready(module: torch.nn.Module, device: str, dtype: torch.dtype) -> Any:
    """The module frozen, on the device, in the dtype."""
    dtype = getattr(module, "planned_dtype", dtype)
    module = module.eval().requires_grad_(False)
    module = module if next(module.parameters()).is_meta else module.to(device)
    is_right = next(module.parameters()).dtype == dtype
    return module if is_right else torch.nn.Module.to(module, dtype)


def weights_hash(modules: Iterable[torch.nn.Module], without: Container[str] = ()) -> str:
    """sha256 of the parameters and buffers that are not named `without`: names, shapes, dtypes and
    bytes. Of those that have no bytes, on the device `meta`, it is no hash."""
    digest = hashlib.sha256()
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            if name in without:
                continue
            if tensor.is_meta:
                return PLANNED
            values = tensor.detach().cpu().contiguous()
            digest.update(f"{name} {list(values.shape)} {values.dtype}".encode())
            digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def state_of(path: Path) -> dict[str, Any]:
    """The tensors of a file by name, of torch's format or safetensors. Raises UserError."""
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # both libraries raise anything on files of another kind
        raise UserError(
            f"{path} holds no weights: {one_line(error).split('. ')[0][:120]}"
        ) from None
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no weights by name")
    return found


@contextmanager
def quiet(with_bars: bool = False) -> Iterator[None]:
    """Keeps the messages of the libraries of models back inside the block, and their bars."""
    from diffusers.utils import logging as of_diffusers
    from huggingface_hub.utils import logging as of_hub
    from transformers.utils import logging as of_transformers

    libraries = (of_diffusers, of_transformers, of_hub)
    levels = [library.get_verbosity() for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
    for library in libraries[:2] if not with_bars else ():
        library.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of names that older versions need
            warnings.filterwarnings("ignore", "The `local_dir_use_symlinks`")
            yield
    finally:
        for library, level in zip(libraries, levels, strict=True):
            library.set_verbosity(level)
        for library in libraries[:2]:
            library.enable_progress_bar()


def _split(where: str, flag: str) -> tuple[str, str]:
    parts = where.strip("/").split("/")
    if where.startswith(("/", ".", "~")) or len(parts) < 2:
        raise UserError(
            f"{flag.lstrip('-')}={where}: there is no such folder; give a folder, or a hub id as "
            "ORGANISATION/NAME"
        )
    return _parts(where)


def _parts(hub_id: str) -> tuple[str, str]:
    """Repository, and folder inside it."""
    parts = hub_id.strip("/").split("/")
    return "/".join(parts[:2]), "/".join(parts[2:])


def _brief(error: Exception) -> str:
    return one_line(error)[:160]
