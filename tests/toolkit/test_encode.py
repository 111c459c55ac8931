"""toolkit.encode: sidecars of tensors, resumed by shard, refused with a reason."""

import io
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import webdataset
from PIL import Image

from tests import twins
from toolkit.core.records import Record
from toolkit.encode import main
from toolkit.packing.dataset import pack
from toolkit.store.layout import Layout
from toolkit.store.recipe import read_recipe
from toolkit.store.samples import SampleReader

HAAR = ("--encoder=haar", "--target_size=48")
ROOT = Path(__file__).resolve().parents[2]


def files_of(layout: Layout) -> dict[str, bytes]:
    """Everything that sidecars consist of; locks are not part of it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for folder in (layout.shards, layout.manifests)
        for path in sorted(folder.glob("*/sidecars/**/*"))
        if path.is_file() and path.suffix != ".lock"
    }


def arrays_of(layout: Layout, dataset: str, name: str) -> dict[str, dict[str, np.ndarray]]:
    """Key to arrays, as webdataset reads them."""
    found = {}
    for tar in sorted((layout.shards / dataset / "sidecars" / name).glob("*.tar")):
        for sample in webdataset.WebDataset(str(tar), shardshuffle=False, empty_check=False):
            arrays = {k: np.load(io.BytesIO(v)) for k, v in sample.items() if k.endswith(".npy")}
            found[sample["__key__"]] = arrays
    return found


def test_the_real_command_gives_pictures_back(run_command: Any, triplets: Layout) -> None:
    done = run_command(
        "toolkit.encode",
        "dataset='circles' or dataset='targets'",
        *HAAR,
        cwd=triplets.shards.parent,
    )
    assert done.returncode == 0, done.stderr
    assert "haar-48: 20 samples encoded in" in done.stdout
    found = arrays_of(triplets, "circles", "haar-48")
    assert len(found) == 7
    from toolkit.encoders.api import open_encoder

    codec, reader = open_encoder("haar"), SampleReader(triplets, "circles")
    for key, arrays in found.items():
        assert set(arrays) == {"target.latent.npy", "source.latent.npy"}
        for name, values in arrays.items():
            data = reader.member(key, name.replace("latent.npy", "png"))
            pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
            latents = codec.latents(torch.from_numpy(values)[None])
            back = (codec.decode(latents)[0].permute(1, 2, 0) + 1) * 127.5
            assert np.array_equal(back.round().numpy(), pixels)
    recipe = read_recipe(triplets, "circles", "haar-48")
    assert recipe.settings["size"] == 48
    assert recipe.settings["fit"] == "crop"
    assert recipe.encoder["encoder"] == "haar"


def test_what_is_there_stays_and_a_wider_query_adds_to_it(call: Any, triplets: Layout) -> None:
    narrow = "dataset='targets' and style='Cubism'"
    assert "7 samples encoded" in call(main, narrow, *HAAR, triplets).out
    first = arrays_of(triplets, "targets", "haar-48")
    assert len(first) == 7
    before = files_of(triplets)
    out = call(main, narrow, *HAAR, triplets).out
    assert "0 samples encoded" in out
    assert "7 were there" in out
    assert files_of(triplets) == before
    call(main, "dataset='targets'", *HAAR, triplets)
    wider = arrays_of(triplets, "targets", "haar-48")
    assert len(wider) == 13
    for key, arrays in first.items():
        assert np.array_equal(wider[key]["latent.npy"], arrays["latent.npy"])
    assert "7 were there" in call(main, narrow, *HAAR, triplets).out  # and nothing is taken away
    assert len(arrays_of(triplets, "targets", "haar-48")) == 13


def test_rows_stand_as_in_the_manifest_and_columns_say_where(call: Any, triplets: Layout) -> None:
    call(main, "style='Cubism'", *HAAR, "--datasets=targets", triplets)
    for stem in ("targets-000000", "targets-000001", "targets-000002"):
        rows = pq.read_table(
            triplets.manifests / "targets" / "sidecars" / "haar-48" / f"{stem}.parquet"
        ).to_pylist()
        manifest = pq.read_table(triplets.manifest_named("targets", stem)).to_pylist()
        assert [row["key"] for row in rows] == [row["key"] for row in manifest]
        tar = (triplets.shards / "targets" / "sidecars" / "haar-48" / f"{stem}.tar").read_bytes()
        for row, packed in zip(rows, manifest, strict=True):
            assert (row["tensors"] is not None) == (packed["style"] == "Cubism")
            for tensor in row["tensors"] or ():
                data = tar[tensor["offset"] : tensor["offset"] + tensor["size"]]
                values = np.load(io.BytesIO(data))
                assert tensor["array"] == f"int16[{','.join(map(str, values.shape))}]"
                assert tensor["picture"] == packed["members"][0]["offset"]


def test_mirrored_pictures_on_request(call: Any, triplets: Layout) -> None:
    call(main, "true", *HAAR, "--flip", "--datasets=circles", triplets)
    found = arrays_of(triplets, "circles", "haar-48")
    reader = SampleReader(triplets, "circles")
    from toolkit.encoders.api import open_encoder

    for key, arrays in found.items():
        data = reader.member(key, "source.png")
        mirrored = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))[:, ::-1].copy()
        expected = open_encoder("haar").encode(torch.from_numpy(mirrored).permute(2, 0, 1)[None])
        values = arrays["source.latent_flipped.npy"]
        assert np.array_equal(values, expected["latent"][0].numpy())


def test_captions_become_tokens_without_padding(
    call: Any, triplets: Layout, tmp_path: Path
) -> None:
    weights = twins.t5(tmp_path / "t5")
    out = call(main, "dataset in ('photos','paintings')", "--encoder=t5", f"--weights={weights}",
               triplets).out  # fmt: skip
    assert "t5: 10 samples encoded" in out
    from toolkit.encoders.api import open_encoder

    encoder = open_encoder("t5", str(weights))
    for key, arrays in arrays_of(triplets, "photos", "t5").items():
        caption = SampleReader(triplets, "photos").row(key)["caption"]
        (expected,) = encoder.encode([caption])["tokens"]
        values = arrays["tokens.npy"]
        assert values.dtype == np.float16
        assert values.shape == tuple(expected.shape)
        np.testing.assert_allclose(values, expected.numpy(), atol=2e-3, rtol=2e-3)
    (empty,) = encoder.encode([""])["tokens"]  # paintings have no captions
    for arrays in arrays_of(triplets, "paintings", "t5").values():
        assert arrays["tokens.npy"].shape == tuple(empty.shape)
    kept = np.load(triplets.manifests / "photos" / "sidecars" / "t5" / "empty-tokens.npy")
    np.testing.assert_allclose(kept, empty.numpy(), atol=2e-3, rtol=2e-3)


def test_several_outputs_and_numbers(call: Any, triplets: Layout, tmp_path: Path) -> None:
    weights = twins.clip(tmp_path / "clip")
    flags = ("--encoder=clip_image", f"--weights={weights}", "--outputs=embedding,tokens")
    call(main, "dataset='photos'", *flags, "--dtype=float32", "--sidecar=clip", triplets)
    found = arrays_of(triplets, "photos", "clip")
    assert {v["embedding.npy"].shape for v in found.values()} == {(12,)}
    assert {v["tokens.npy"].shape for v in found.values()} == {(17, 16)}
    assert {v["tokens.npy"].dtype.name for v in found.values()} == {"float32"}


def test_two_processes_of_torchrun_write_the_same_bytes(call: Any, triplets: Layout) -> None:
    place = triplets.shards.parent
    call(main, "true", *HAAR, triplets)
    expected = files_of(triplets)
    for folder in (triplets.shards, triplets.manifests):
        for path in folder.glob("*/sidecars"):
            shutil.rmtree(path)
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "-m",
         "toolkit.encode", "true", *HAAR],
        cwd=place, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert files_of(triplets) == expected
    assert done.stdout.count("samples encoded") == 2


def test_killed_and_resumed_it_ends_with_the_same_bytes(call: Any, triplets: Layout) -> None:
    call(main, "true", *HAAR, triplets)
    expected = files_of(triplets)
    for number, finished in enumerate((0, 2, 5)):
        for folder in (triplets.shards, triplets.manifests):
            for path in folder.glob("*/sidecars"):
                shutil.rmtree(path)
        process = subprocess.Popen(
            [sys.executable, "-m", "toolkit.encode", "true", *HAAR], cwd=triplets.shards.parent,
            env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while process.poll() is None and len(done_shards(triplets)) < finished:
            time.sleep(0.0005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        call(main, "true", *HAAR, triplets)
        assert files_of(triplets) == expected, f"kill {number}"


def done_shards(layout: Layout) -> list[Path]:
    return list(layout.manifests.glob("*/sidecars/*/*-??????.parquet"))


def test_data_that_were_packed_anew_are_encoded_anew(
    call: Any, triplets: Layout, toy_source: Any, encode: Any, make_picture: Any
) -> None:
    call(main, "dataset='photos'", *HAAR, triplets)
    before = arrays_of(triplets, "photos", "haar-48")
    shutil.rmtree(triplets.manifests / "photos", ignore_errors=False)
    shutil.rmtree(triplets.shards / "photos")
    records = {f"photo{i}": Record({"jpg": encode(make_picture(900 + i))}) for i in range(6)}
    pack(toy_source("photos", records), "photos", triplets, 5)
    assert "6 samples encoded" in call(main, "dataset='photos'", *HAAR, triplets).out
    after = arrays_of(triplets, "photos", "haar-48")
    assert not np.array_equal(before["photo1"]["latent.npy"], after["photo1"]["latent.npy"])


def test_another_recipe_under_the_same_name_is_refused(call: Any, triplets: Layout) -> None:
    flags = ("--encoder=haar", "--sidecar=latents", "--datasets=photos", triplets)
    call(main, "true", "--target_size=48", *flags)
    before = files_of(triplets)
    refused = call(main, "true", "--target_size=32", "--fit=pad", *flags).refusal()
    assert "settings.fit, settings.size differ): choose another --sidecar=NAME" in refused
    assert files_of(triplets) == before
    assert (
        "6 samples"
        in call(main, "true", "--target_size=32", "--fit=pad", "--overwrite", *flags).out
    )
    assert read_recipe(triplets, "photos", "latents").settings["size"] == 32


def test_what_does_not_decode_is_counted_and_named(
    call: Any, triplets: Layout, spoil: Callable[..., None]
) -> None:
    spoil(triplets, "photos", "photo3")
    out = call(main, "dataset='photos'", *HAAR, triplets).out
    assert "5 samples encoded" in out
    assert "not encoded, undecodable: 1" in out or "not encoded, truncated: 1" in out
    assert "photo3" not in arrays_of(triplets, "photos", "haar-48")
    assert "6 were there" in call(main, "dataset='photos'", *HAAR, triplets).out  # nor tried again


def test_damage_stops_it(call: Any, triplets: Layout, spoil: Callable[..., None]) -> None:
    spoil(triplets, "photos", "photo3", as_packed=False)
    assert "is damaged at photo3" in call(main, "dataset='photos'", *HAAR, triplets).err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("true", "--encoder=vae"), "there is no encoder 'vae': choose one of autoencoder_kl"),
        (("true", "--encoder=haar", "--target_size=50"), "takes a multiple of 8"),
        (("true", "--encoder=haar", "--target_size=-8"), "target_size=-8: takes 0 or more"),
        (("true", "--encoder=haar", "--batch_size=0"), "batch_size=0: takes 1 or more"),
        (("true", *HAAR, "--views=2", "--fit=pad"), "--views=2: goes with --fit=crop"),
        (("true", *HAAR, "--least_scale=0.5"), "--least_scale=0.5: goes with --views"),
        (("true", *HAAR, "--views=-1"), "--views=-1: takes 0 or more"),
        (("true", *HAAR, "--views=1", "--least_scale=0"), "least_scale=0.0: takes a number up to"),
        (("style='Rococo'", *HAAR), "no sample fits"),
        (("dataset='photo'", *HAAR), "no row has dataset 'photo': did you mean 'photos'?"),
        (("stile='Cubism'", *HAAR), "there is no column 'stile'"),
        (("true", *HAAR, "--outputs=tokens"), "haar has no output 'tokens': choose from latent"),
        (("true", *HAAR, "--weights=w"), "the Haar transform has none"),
        (("true", *HAAR, "--fit=stretch"), "--fit='stretch': choose one of crop, squash, pad"),
        (("true", "--encoder=t5", "--weights=./no"), "there is no such folder"),
        (("true", "--encoder=t5", "--flip", "--views=2"), "--flip, --views: t5 reads captions"),
        (("true",), "--encoder=… is missing"),
        (("true", *HAAR, "--sidecar=../x"), "--sidecar=../x: write letters, digits, dots"),
        (
            ("true", *HAAR, "--device=cuda:99"),
            "--device=cuda:99 cannot be used here: choose one of cpu",
        ),
        (("true", "--sidecar=a", "--import_folder=s3://a/b"), "s3://a/b is remote"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    args: tuple[str, ...], message: str, call: Any, triplets: Layout
) -> None:
    assert message in call(main, *args, triplets).refusal()
    assert not files_of(triplets)


def test_numbers_that_do_not_fit_are_refused(call: Any, triplets: Layout, tmp_path: Path) -> None:
    from diffusers import AutoencoderKL

    weights = twins.autoencoder_kl(tmp_path / "vae")
    model = AutoencoderKL.from_pretrained(weights)
    with torch.no_grad():
        model.quant_conv.weight.mul_(1e7)
    model.save_pretrained(weights)
    flags = ("--encoder=autoencoder_kl", f"--weights={weights}", "--target_size=48", triplets)
    assert "a value is too large for float16" in call(main, "dataset='photos'", *flags).err
    assert "6 samples encoded" in call(main, "dataset='photos'", "--dtype=float32", *flags).out


def test_a_second_process_at_the_same_sidecar_is_refused(call: Any, triplets: Layout) -> None:
    from toolkit.core.files import held

    call(main, "dataset='photos'", *HAAR, triplets)
    lock = triplets.manifests / "photos" / "sidecars" / "haar-48" / ".encode-0.lock"
    before = files_of(triplets)
    other = ("--encoder=haar", "--target_size=64", "--sidecar=haar-48", "--overwrite")
    with held(lock, "busy"):
        for flags in (HAAR, other):  # nor may it change what the first one goes by
            refused = call(main, "dataset='photos'", *flags, triplets).refusal()
            assert "another process encodes haar-48 of photos" in refused
            assert files_of(triplets) == before


def test_the_recipe_is_for_people_too(call: Any, triplets: Layout) -> None:
    call(main, "dataset='photos'", *HAAR, triplets)
    path = triplets.manifests / "photos" / "sidecars" / "haar-48" / "sidecar.json"
    assert json.loads(path.read_text())["encoder"]["encoder"] == "haar"


def test_lost_and_damaged_tensors_are_made_again(call: Any, triplets: Layout) -> None:
    call(main, "dataset='photos'", *HAAR, triplets)
    expected, folder = files_of(triplets), triplets.shards / "photos" / "sidecars" / "haar-48"
    (folder / "photos-000000.tar").unlink()
    assert "5 samples encoded" in call(main, "dataset='photos'", *HAAR, triplets).out
    assert files_of(triplets) == expected
    data = bytearray((folder / "photos-000001.tar").read_bytes())
    data[700] ^= 1
    (folder / "photos-000001.tar").write_bytes(data)
    assert "1 samples encoded" in call(main, "dataset='photos'", *HAAR, triplets).out
    assert files_of(triplets) == expected
    recipe = triplets.manifests / "photos" / "sidecars" / "haar-48" / "sidecar.json"
    for damage in (recipe.unlink, lambda: recipe.write_text("{")):
        damage()
        assert "6 were there" in call(main, "dataset='photos'", *HAAR, triplets).out
        assert files_of(triplets) == expected


# --- folders of .pt files


def test_latents_go_to_a_folder_and_come_back(
    call: Any, tiny_layout: Layout, tmp_path: Path
) -> None:
    weights = twins.autoencoder_kl(tmp_path / "vae")
    flags = (f"--weights={weights}", "--target_size=32", "--dtype=float32", tiny_layout)
    call(main, "true", "--encoder=autoencoder_kl", "--sidecar=kl", *flags)
    out = tmp_path / "latents"
    text = call(main, "style='cubism'", "--sidecar=kl", f"--export_folder={out}", tiny_layout).out
    assert text == f"kl: 4 files written below {out}\n"
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.pt")) == [
        f"cubism/p{i}.pt" for i in range(4)
    ]
    from diffusers import AutoencoderKL

    model = AutoencoderKL.from_pretrained(weights)
    for key, arrays in arrays_of(tiny_layout, "tiny", "kl").items():
        source_id = SampleReader(tiny_layout, "tiny").row(key)["source_id"]
        path = (out / source_id).with_suffix(".pt")
        if path.exists():
            latent = torch.load(path, weights_only=True)
            mean = torch.from_numpy(arrays["latent.npy"])[: model.config.latent_channels]
            torch.testing.assert_close(latent, mean * model.config.scaling_factor)
    before = files_of(tiny_layout)
    empty = call(main, "true", "--sidecar=mine", f"--import_folder={tmp_path / 'vae'}", tiny_layout)
    assert "no sample has its file below" in empty.refusal()
    assert files_of(tiny_layout) == before
    text = call(main, "true", "--sidecar=mine", f"--import_folder={out}", tiny_layout).out
    assert text == "mine: 4 read, 0 kept, 8 without a file\n"
    for key, arrays in arrays_of(tiny_layout, "tiny", "mine").items():
        source_id = SampleReader(tiny_layout, "tiny").row(key)["source_id"]
        latent = torch.load((out / source_id).with_suffix(".pt"), weights_only=True)
        assert np.array_equal(arrays["latent.npy"], latent.numpy())
    again = call(main, "true", "--sidecar=mine", f"--import_folder={out}", tiny_layout).out
    assert again == "mine: 0 read, 4 kept, 8 without a file\n"


def test_of_pairs_the_target_goes_out(call: Any, triplets: Layout, tmp_path: Path) -> None:
    call(main, "dataset='circles'", *HAAR, triplets)
    out = tmp_path / "latents"
    flags = ("--sidecar=haar-48", f"--export_folder={out}")
    text = call(main, "dataset='circles'", *flags, triplets).out
    assert "not exported, one file holds one latent: 7 latent\n" in text  # of the sources
    for key, arrays in arrays_of(triplets, "circles", "haar-48").items():
        latent = torch.load(out / f"{key}.pt", weights_only=True)
        assert np.array_equal(latent.numpy(), arrays["target.latent.npy"])
        assert not np.array_equal(latent.numpy(), arrays["source.latent.npy"])
    refused = call(
        main, "dataset='circles'", "--sidecar=haar-48", f"--import_folder={out}", triplets
    ).refusal()
    assert "was made in another way" in refused
    flags = ("--sidecar=haar-48", f"--import_folder={out}", "--overwrite")
    assert "7 read, 0 kept" in call(main, "dataset='circles'", *flags, triplets).out


def test_files_that_hold_code_or_no_latent_are_refused(
    call: Any, tiny_layout: Layout, tmp_path: Path
) -> None:
    folder = tmp_path / "latents"
    (folder / "cubism").mkdir(parents=True)
    args = ("style='cubism'", "--sidecar=mine", f"--import_folder={folder}", tiny_layout)
    path = folder / "cubism" / "p1.pt"
    torch.save({"code": print}, path)
    assert "p1.pt cannot be read" in call(main, *args).err
    torch.save(torch.zeros(3), path)
    assert "p1.pt holds no latent: it takes one tensor [C,h,w]" in call(main, *args).err
    for junk in (b"no zip", bytes(range(256)), b"\\x80\\x02}q\\x00."):
        path.write_bytes(junk)
        assert "p1.pt" in call(main, *args).refusal()
    assert "p1.pt cannot be read" in call(main, *args).err
    assert "there is no folder" in call(main, *args[:2], "--import_folder=no", tiny_layout).err
    assert "--sidecar=… is missing" in call(main, args[0], args[2], tiny_layout).err
    path.unlink()
    assert "no sample has its file below" in call(main, *args).err
    torch.save(torch.ones(1, 4, 8, 8, dtype=torch.bfloat16), path)
    assert "1 read, 0 kept, 3 without a file" in call(main, *args).out
