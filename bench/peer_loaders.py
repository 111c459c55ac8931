"""How other loaders deliver the same pictures; run by `bench.loader` in the peers' environment.

    .venv-peers/loaders/bin/python -m bench.peer_loaders prepare PEER TARS FOLDER
    .venv-peers/loaders/bin/python -m bench.peer_loaders time PEER TARS FOLDER WORKERS SAMPLES

Each peer reads its own format, shuffles, and gives uint8 batches of 8; each decodes by simplejpeg,
which is faster than what they use by themselves. `time` prints the seconds of SAMPLES samples after
the first batch. A name ending in `-raw` decodes nothing; `recipe` is what most people run:
webdataset, Pillow, torchvision's resize and crop to 256.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

BATCH = 8
BUFFER, SUBSET = 1000, "003"


def decode(data: bytes) -> Any:
    import simplejpeg

    return simplejpeg.decode_jpeg(data, "RGB")


def tars_of(folder: str) -> list[str]:
    return sorted(map(str, Path(folder).glob("*.tar")))


# --- webdataset


def webdataset_batches(tars: str, folder: str, workers: int, kind: str = "") -> Any:
    import torch
    import webdataset as wds

    def stacked(samples: list[Any]) -> Any:
        return torch.stack([torch.as_tensor(sample[0]) for sample in samples])

    def chosen(sample: dict[str, Any]) -> bool:
        return bool(json.loads(sample["json"])["style"] == SUBSET)

    data = wds.WebDataset(
        tars_of(tars),
        shardshuffle=100,
        seed=1,
        empty_check=False,
        workersplitter=wds.split_by_worker,
    )
    data = data.repeat()
    data = data.select(chosen) if kind.startswith("subset") else data
    data = data.shuffle(BUFFER)
    if kind in ("raw", "subset-raw"):
        return wds.WebLoader(data.to_tuple("jpg").batched(BATCH, collation_fn=list),
                             batch_size=None, num_workers=workers)  # fmt: skip
    if kind == "recipe":
        from torchvision import transforms

        shape = transforms.Compose(
            [transforms.Resize(256), transforms.CenterCrop(256), transforms.PILToTensor()]
        )
        data = (
            data.decode("pil").to_tuple("jpg").map_tuple(shape).batched(BATCH, collation_fn=stacked)
        )
        return wds.WebLoader(data, batch_size=None, num_workers=workers)
    data = data.to_tuple("jpg").map_tuple(decode).batched(BATCH, collation_fn=stacked)
    return wds.WebLoader(data, batch_size=None, num_workers=workers)


# --- MosaicML Streaming


def mosaic_prepare(tars: str, folder: str) -> None:
    import webdataset as wds
    from streaming import MDSWriter

    with MDSWriter(out=folder, columns={"jpg": "bytes"}) as writer:
        for sample in wds.WebDataset(tars_of(tars), shardshuffle=False):
            writer.write({"jpg": sample["jpg"]})


def mosaic_batches(tars: str, folder: str, workers: int, kind: str = "") -> Any:
    import torch
    from streaming import StreamingDataset

    class Decoded(StreamingDataset):
        def __getitem__(self, at: Any) -> Any:
            data = super().__getitem__(at)["jpg"]
            return data if kind == "raw" else torch.from_numpy(decode(data))

    data = Decoded(local=folder, shuffle=True, batch_size=BATCH)
    collate = list if kind == "raw" else None
    return forever(
        torch.utils.data.DataLoader(data, BATCH, num_workers=workers, collate_fn=collate)
    )


# --- litdata


def _bytes_of(path: str) -> dict[str, bytes]:
    return {"jpg": Path(path).read_bytes()}


def litdata_prepare(tars: str, folder: str) -> None:
    import litdata

    loose_prepare(tars, folder + "-loose")
    files = sorted(map(str, Path(folder + "-loose").glob("*.jpg")))
    litdata.optimize(_bytes_of, files, folder, chunk_bytes="64MB", num_workers=2)


def litdata_batches(tars: str, folder: str, workers: int, kind: str = "") -> Any:
    import litdata
    import torch

    class Decoded(litdata.StreamingDataset):
        def __getitem__(self, at: Any) -> Any:
            data = super().__getitem__(at)["jpg"]
            return data if kind == "raw" else torch.from_numpy(decode(data))

    collate = list if kind == "raw" else None
    data = Decoded(folder, shuffle=True)
    return forever(
        litdata.StreamingDataLoader(data, batch_size=BATCH, num_workers=workers, collate_fn=collate)
    )


# --- Hugging Face datasets


def huggingface_batches(tars: str, folder: str, workers: int, kind: str = "") -> Any:
    import datasets
    import torch

    datasets.disable_progress_bars()
    data = datasets.load_dataset(
        "webdataset", data_files=tars_of(tars), split="train", streaming=True, cache_dir=folder
    )
    data = data.cast_column("jpg", datasets.Image(decode=False)).shuffle(1, buffer_size=BUFFER)

    def collate(samples: list[Any]) -> Any:
        found = [sample["jpg"]["bytes"] for sample in samples]
        return found if kind == "raw" else torch.stack([torch.from_numpy(decode(d)) for d in found])

    return forever(
        torch.utils.data.DataLoader(data, BATCH, num_workers=workers, collate_fn=collate)
    )


# --- Megatron-Energon


def energon_prepare(tars: str, folder: str) -> None:
    import shutil

    from megatron.energon.flavors import BaseWebdatasetFactory

    Path(folder).mkdir(parents=True)
    for tar in tars_of(tars):
        shutil.copy(tar, folder)
    names = [Path(tar).name for tar in tars_of(tars)]
    BaseWebdatasetFactory.prepare_dataset(
        Path(folder), names, split_parts_ratio=[("train", 1.0)], workers=2
    )
    (Path(folder) / ".nv-meta" / "dataset.yaml").write_text(
        "__module__: megatron.energon\n__class__: CrudeWebdataset\n"
    )


def energon_batches(tars: str, folder: str, workers: int, kind: str = "") -> Any:
    import torch
    from megatron.energon import (
        Cooker,
        DefaultTaskEncoder,
        WorkerConfig,
        basic_sample_keys,
        get_loader,
        get_train_dataset,
        stateless,
    )
    from megatron.energon.flavors import TextSample

    @stateless
    def cook(sample: dict[str, Any]) -> TextSample:
        data = sample["jpg"]
        value = data if kind == "raw" else torch.from_numpy(decode(data))
        return TextSample(**basic_sample_keys(sample), text=value)

    class Encoder(DefaultTaskEncoder[Any, Any, Any, Any]):
        cookers = [Cooker(cook)]  # noqa: RUF012 - as its documentation has it
        decoder = None

        @stateless
        def batch(self, samples: list[Any]) -> Any:
            found = [sample.text for sample in samples]
            return found if kind == "raw" else torch.stack(found)

    data = get_train_dataset(
        folder, batch_size=BATCH, shuffle_buffer_size=BUFFER, max_samples_per_sequence=100,
        worker_config=WorkerConfig(rank=0, world_size=1, num_workers=workers),
        task_encoder=Encoder(),
    )  # fmt: skip
    return get_loader(data)


# --- SPDL


def spdl_batches(tars: str, folder: str, workers: int, kind: str = "") -> Any:
    """Loose files, by threads. Its own decoders need FFmpeg's libraries."""
    import numpy as np
    from spdl.pipeline import PipelineBuilder

    rng = np.random.default_rng(1)
    files = np.array(sorted(map(str, Path(folder).glob("*.jpg"))))

    def paths() -> Any:
        while True:
            yield from rng.permutation(files).tolist()

    def read(path: str) -> Any:
        data = Path(path).read_bytes()
        return data if kind == "raw" else decode(data)

    count = max(1, workers)
    builder = PipelineBuilder().add_source(paths())
    joined = list if kind == "raw" else np.stack
    builder = builder.pipe(read, concurrency=count).aggregate(BATCH).pipe(joined)
    pipeline = builder.add_sink(2).build(num_threads=count)

    def batches() -> Any:
        with pipeline.auto_stop():
            yield from pipeline.get_iterator(timeout=60)

    return batches()


def loose_prepare(tars: str, folder: str) -> None:
    import webdataset as wds

    Path(folder).mkdir(parents=True, exist_ok=True)
    for sample in wds.WebDataset(tars_of(tars), shardshuffle=False):
        (Path(folder) / f"{sample['__key__']}.jpg").write_bytes(sample["jpg"])


# --- loose files and torch's DataLoader


class Files:
    """A map-style dataset of picture files."""

    def __init__(self, folder: str, kind: str):
        self._paths, self._kind = sorted(Path(folder).glob("*.jpg")), kind

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Any:
        import torch

        data = self._paths[index].read_bytes()
        return data if self._kind == "raw" else torch.from_numpy(decode(data))


def loose_batches(tars: str, folder: str, workers: int, kind: str = "") -> Any:
    import torch

    collate = list if kind == "raw" else None
    data: Any = Files(folder, kind)
    return forever(
        torch.utils.data.DataLoader(
            data, BATCH, shuffle=True, num_workers=workers, collate_fn=collate
        )
    )


def forever(loader: Any) -> Any:
    while True:
        yield from loader


PREPARE = {"mosaic": mosaic_prepare, "litdata": litdata_prepare, "energon": energon_prepare,
           "spdl": loose_prepare, "loose": loose_prepare}  # fmt: skip
BATCHES = {"webdataset": webdataset_batches, "mosaic": mosaic_batches, "litdata": litdata_batches,
           "huggingface": huggingface_batches, "energon": energon_batches, "spdl": spdl_batches,
           "loose": loose_batches}  # fmt: skip


def measure(batches: Any, samples: int) -> float:
    """Seconds of the samples after a first batch."""
    stream = iter(batches)
    next(stream)
    start, left = time.perf_counter(), samples
    for batch in stream:
        left -= len(batch)
        if left <= 0:
            break
    return time.perf_counter() - start


def main(what: str, peer: str, tars: str, folder: str, *numbers: str) -> None:
    name, _, kind = peer.partition("-")
    if what == "prepare":
        PREPARE[name](tars, folder)
        return
    workers, samples = map(int, numbers)
    batches = BATCHES[name](tars, folder, workers, kind)
    print(json.dumps({"seconds": measure(batches, samples)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
