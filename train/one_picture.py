"""One picture, from files to a file."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError, one_line
from toolkit.core.files import make_folder
from train.methods.api import Method
from train.pictures import StylizeSettings


def free_path(folder: Path, stem: str) -> Path:
    """A picture's path in the folder that nothing has yet."""
    numbers = itertools.chain([""], (f"-{n}" for n in itertools.count(2)))
    return next(path for n in numbers if not (path := folder / f"{stem}{n}.png").exists())


def read_given(path: Path) -> Any:
    """The bytes of a picture file that decodes, or the tensor of a .pt file. Raises UserError if it
    is neither."""
    from toolkit.store.images import PictureError
    from toolkit.store.ingest import ingest

    try:
        if path.suffix == ".pt":
            return _latent(path)
        return ingest(path.read_bytes()).data
    except OSError as error:
        raise UserError(f"cannot read the picture {path}: {error.strerror}") from None
    except PictureError as error:
        raise UserError(f"{path} is not a usable picture ({error.cause}): {error}") from None


def _latent(path: Path) -> Any:
    """float [1,C,h,w]."""
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch raises anything on files of another kind
        raise UserError(f"{path} holds no tensor: {one_line(error)[:120]}") from None
    if not isinstance(found, torch.Tensor) or found.ndim not in (3, 4) or len(found) < 1:
        raise UserError(f"{path} holds no latent [C,h,w]")
    if not found.isfinite().all():
        raise UserError(f"{path} holds values that are not finite")
    return (found if found.ndim == 4 else found[None])[:1].float()


def check_out(path: Path) -> None:
    """Raises UserError for a path that no PNG can have."""
    if path.is_dir():
        raise UserError(f"--out={path} is a folder: name a file in it, as {path / 'picture.png'}")
    if path.suffix.lower() != ".png":
        raise UserError(f"--out={path}: pictures are written as PNG, name it {path.stem}.png")


def make_one(
    method: Method, given: Mapping[str, Any], caption: str, chosen: StylizeSettings, path: Path
) -> None:
    """Writes a picture.

    Args:
        method: with its weights.
        given: content and style as `read_given` returns them, as far as there are any.
        caption: what the picture shows.
        chosen: how it is made.
        path: of the PNG.
    """
    import torch

    from train.methods.api import StylizeRequest
    from train.watch import save_picture

    device, side = next(method.module().parameters()).device, chosen.needs.size
    shapes = {"content": content_shape(given.get("content"), chosen), "style": (side, side)}
    tensors = {
        role: (cut_middle(d, shapes[role]) if isinstance(d, bytes) else d).to(device)
        for role, d in given.items()
    }
    is_latent = "content" in given and not isinstance(given["content"], bytes)
    content = tensors.get("content")
    made = chosen.made(
        method,
        StylizeRequest(
            content=None if is_latent else content,
            style=tensors.get("style"),
            has_style=torch.ones(1, dtype=torch.bool),
            captions=(caption,),
            seeds=torch.tensor([chosen.seed]),
            how=chosen.how,
            labels=(None,),
            latents=content if is_latent else None,
        ),
    )
    make_folder(path.parent)
    save_picture(path, made[0])


def content_shape(data: Any, chosen: StylizeSettings) -> tuple[int, int]:
    """Height and width that a content is brought to: a square; where the method takes other shapes,
    those that are asked for, or the picture's own, at no more than size² pixels and cut to whole
    multiples. Raises UserError for one that is too small."""
    import io

    import numpy as np
    from PIL import Image

    from toolkit.stream.buckets import Buckets

    size, multiple = chosen.needs.size, chosen.needs.multiple
    asked = tuple(getattr(chosen.how, side, 0) for side in ("height", "width"))
    if not multiple or not isinstance(data, bytes):
        return size, size
    if any(asked):
        return asked[0] or size, asked[1] or size
    width, height = Image.open(io.BytesIO(data)).size
    found = Buckets(multiple, size, 0).shapes(np.array([height]), np.array([width]))[0]
    if not found.all():
        raise UserError(
            f"--content has {width}×{height} pixels: takes {multiple}×{multiple} at least"
        )
    return int(found[0]), int(found[1])


def cut_middle(data: bytes, shape: tuple[int, int]) -> Any:
    """The middle of a picture's bytes as float [1,3,H,W] in [-1,1]. shape: height and width."""
    import numpy as np
    import torch

    from toolkit.stream.decode import decode_cut

    pixels = np.zeros((*shape, 3), np.uint8)
    decode_cut(data, pixels)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
