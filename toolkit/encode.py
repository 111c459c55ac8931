"""Encodes pictures or captions once, so that training does not: latents, tokens, embeddings.

python -m toolkit.encode "dataset='wikiart'" --encoder=autoencoder_kl --target_size=512
python -m toolkit.encode "dataset='content'" --encoder=t5 --weights=DIR --sidecar=t5
torchrun --nproc_per_node=4 -m toolkit.encode "true" --encoder=clip_image --device=cuda
"""

import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from toolkit.cluster.ranks import spread_over
from toolkit.core.checks import at_least
from toolkit.core.command import run
from toolkit.core.errors import UserError
from toolkit.core.log import hint
from toolkit.core.memory import LIMIT
from toolkit.encoding.plan import shards_of
from toolkit.store.catalog import Catalog, print_gaps, without_rehearsals
from toolkit.store.layout import local_layout


def main(
    where: str,
    *,
    encoder: str | None = None,
    weights: str | None = None,
    sidecar: str | None = None,
    outputs: tuple[str, ...] = (),
    target_size: int = 0,
    fit: Literal["crop", "squash", "pad"] = "crop",
    flip: bool = False,
    views: int = 0,
    least_scale: float = 1.0,
    dtype: Literal["float16", "float32"] = "float16",
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
    device: str = "auto",
    batch_size: int = 8,
    workers: int = 2,
    threads: int = 0,
    overwrite: bool = False,
    limit: int | None = None,
    engine: Literal["local", "ray"] = "local",
    jobs: int | None = None,
    memory_limit: float = LIMIT,
    import_folder: Path | None = None,
    export_folder: Path | None = None,
    datasets: tuple[str, ...] | None = None,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Writes a sidecar for the samples of a query: tensors in tars beside the shards.

    What is encoded already stays, so a run that was stopped goes on where it was, and a wider query
    adds to a narrower one. Under torchrun each process takes every n-th shard, on a GPU of its own.

    Args:
        where: SQL condition; "true" takes everything.
        encoder: autoencoder_kl, autoencoder_tiny, taef2, haar, rgb, clip_image, clip_text, dino,
            t5, sdxl_text.
        weights: a local folder or a hub id; the encoder's own default otherwise.
        sidecar: name of the result; that of the encoder otherwise, with the size where it has one.
        outputs: what of the encoder to keep, as embedding,tokens; without it the first.
        target_size: pixels a side; the encoder's own otherwise.
        fit: how a picture becomes a square: crop its centre, squash it, pad it with black.
        flip: whether to encode the mirrored pictures as well, for training with flips.
        views: how many random cuts to encode beside the plain one, for training with random crops.
        least_scale: side of the smallest cut, as a part of the picture's shorter side.
        dtype: the numbers that are stored.
        precision: of the encoder's arithmetic; auto is fp32 on a CPU and bf16 on a GPU.
        device: as torch names it; auto takes a GPU where there is one.
        batch_size: pictures or captions at a time.
        workers: threads that decode.
        threads: of torch on a CPU; all cores otherwise.
        overwrite: whether to replace a sidecar of that name that was made in another way.
        limit: encode only so many samples and keep nothing, to see what all would take.
        engine: this process, or several of a Ray cluster whose machines see the same folders.
        jobs: with --engine=ray, how many; one on each GPU, or on every second core, otherwise.
        memory_limit: share of the machine's or the control group's memory above which less is done
            at once, and in the end nothing more; 1 for never.
        import_folder: takes latents from this folder of .pt files, one a picture, instead.
        export_folder: writes the latents of --sidecar to this folder, one .pt a picture, instead.
        datasets: only these; all but rehearsals otherwise.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    if spread_over(engine, jobs, limit, "toolkit.encode", main, locals()):
        return
    at_least(1, batch_size=batch_size, workers=workers, limit=1 if limit is None else limit)
    at_least(0, target_size=target_size, threads=threads)
    layout = local_layout(shards, manifests)
    catalog = Catalog(layout, list(datasets) if datasets else without_rehearsals(layout))
    print_gaps(catalog)
    condition = catalog.condition(where)
    shards_of(catalog, condition)  # refused before the weights are read
    if import_folder or export_folder:
        besides = {"encoder": encoder, "weights": weights, "outputs": outputs, "limit": limit,
                 "target_size": target_size, "flip": flip, "views": views}  # fmt: skip
        if odd := [f"--{name}" for name, value in besides.items() if value]:
            raise UserError(
                f"{', '.join(odd)}: go with encoding, not with --import_folder or --export_folder"
            )
        _exchange(catalog, condition, sidecar, import_folder, export_folder, overwrite)
        return
    if encoder is None:
        raise UserError("--encoder=… is missing: see python -m toolkit.encode --help")

    from toolkit.encoders.api import encoder_module, open_encoder
    from toolkit.encoding.frame import Wanted
    from toolkit.encoding.rehearsal import rehearse
    from toolkit.encoding.run import Job, encode, encode_captions, encode_pictures
    from toolkit.encoding.views import Views
    from toolkit.store.recipe import Recipe, check_name
    from toolkit.stream.ranks import rank_and_world

    rank, world = rank_and_world()
    module = encoder_module(encoder)
    if module.READS == "caption":
        _refuse_cuts(encoder, target_size=target_size, fit=fit != "crop", flip=flip, views=views)
    kept = outputs or module.OUTPUTS[:1]
    place = _device(device, rank, threads)
    opened = open_encoder(encoder, weights, place, precision, kept)
    settings: dict[str, Any] = {"dtype": dtype, "batch_size": batch_size}
    size, empty = 0, {}
    if module.READS == "picture":
        size = target_size or opened.size
        settings |= _of_pictures(size, opened.multiple, fit, flip, Views(views, least_scale))
        function = encode_pictures(opened, kept, dtype, flip)
    else:
        function = encode_captions(opened, kept, dtype)
        (empty,) = function([""])
    name = check_name(sidecar or (f"{encoder}-{size}" if size else encoder))
    recipe = Recipe(opened.identity, tuple(kept), settings)
    wanted = Wanted(name, recipe, condition, rank, world, overwrite, empty)
    job = Job(
        wanted, module.READS, function, batch_size, size, fit, workers, memory_limit, place,
        Views(views, least_scale),
    )  # fmt: skip
    if limit is not None:
        _print_forecast(name, rehearse(catalog, job, limit))
        return
    try:
        summary = encode(catalog, job)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "the same command goes on after the last whole shard, and does again what was done of "
            "the next (smaller shards: pack --samples_per_shard)"
        ) from None
    _print_summary(name, summary)


def _refuse_cuts(encoder: str, **given: Any) -> None:
    if odd := [f"--{name}" for name, value in given.items() if value]:
        raise UserError(f"{', '.join(odd)}: {encoder} reads captions, not pictures")


def _of_pictures(size: int, multiple: int, fit: str, flip: bool, views: Any) -> dict[str, Any]:
    """What a recipe says of how pictures are cut. Raises UserError where that cannot be."""
    if size % multiple:
        raise UserError(f"--target_size={size}: takes a multiple of {multiple}")
    found = {"size": size, "fit": fit, "flip": flip}
    if not views.count and views.least_scale != 1:
        raise UserError(f"--least_scale={views.least_scale}: goes with --views")
    if not views.count:
        return found
    if fit != "crop":
        raise UserError(f"--views={views.count}: goes with --fit=crop")
    return {**found, "views": views.count, "least_scale": views.least_scale}


def _print_summary(name: str, summary: Any) -> None:
    rate = summary.num_encoded / max(summary.seconds, 1e-9)
    print(
        f"{name}: {summary.num_encoded} samples encoded in {summary.seconds:.1f} s, {rate:.1f}/s, "
        f"in {summary.num_shards} shards; {summary.num_kept} were there"
    )
    for cause, count in sorted(summary.causes.items()):
        print(f"  not encoded, {cause}: {count}")
    hint(f"  {_memory()}")


def _print_forecast(name: str, found: Any) -> None:
    told = f", {found.num_failed} of them in vain" if found.num_failed else ""
    print(
        f"{name}: a rehearsal of {found.num_samples} samples{told}, nothing is kept; all "
        f"{found.num_wanted} of the query: about {found.seconds:.0f} s in one process, "
        f"{_size(found.num_bytes)}; {_memory()}"
    )


def _size(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.3g} MB"


def _memory() -> str:
    import torch

    told = f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6:.0f} MB"
    if torch.cuda.is_available():
        told += f", of the GPU {torch.cuda.max_memory_allocated() / 1e6:.0f} MB"
    return told


def _exchange(
    catalog: Catalog,
    condition: str,
    sidecar: str | None,
    source: Path | None,
    out: Path | None,
    overwrite: bool,
) -> None:
    from toolkit.encoding import folders
    from toolkit.store.recipe import check_name

    if sidecar is None:
        raise UserError("--sidecar=… is missing: it names what is read or written")
    check_name(sidecar)
    if source and out:
        raise UserError("--import_folder and --export_folder are two things: one at a time")
    if out:
        count, left = folders.export_folder(catalog, condition, sidecar, out)
        print(f"{sidecar}: {count} files written below {out}")
        for output, number in sorted(left.items()):
            print(f"  not exported, one file holds one latent: {number} {output}")
    if source:
        counts = folders.import_folder(catalog, condition, sidecar, source, overwrite)
        told = ", ".join(f"{count} {what}" for what, count in counts.items())
        print(f"{sidecar}: {told}")


def _device(device: str, rank: int, threads: int) -> str:
    """The device of this process; under torchrun each has a GPU of its own. threads: of torch on a
    CPU, 0 for all cores."""
    import torch

    from toolkit.encoders.device import own_device

    if threads:
        torch.set_num_threads(threads)
    return own_device(device)


def _values(_: list[str], __: Mapping[str, str]) -> dict[str, list[str]]:
    from toolkit.encoders import encoders

    return {"encoder": encoders()}


if __name__ == "__main__":
    run(main, "python -m toolkit.encode", values=_values)
