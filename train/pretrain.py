"""Makes small text-to-image models from nothing, as backbones: PixArt and Stable Diffusion.

python -m toolkit.pack pretraining --count=12000
python -m train.pretrain begin --out=small
python -m train.pretrain autoencoder --out=small
python -m train.pretrain clip --out=small
python -m train.run style_adapter --config=backbone --backbone=small
python -m train.pretrain finish --out=small --run=runs/style_adapter-backbone

python -m train.pretrain unet --out=small-sd --parts=small
python -m train.run dreambooth_lora --config=backbone --backbone=small-sd
python -m train.pretrain finish --out=small-sd --run=runs/dreambooth_lora-backbone

python -m train.pretrain sdxl --out=small-sdxl --parts=small
"""

from pathlib import Path

from toolkit.core.command import run
from toolkit.core.errors import UserError
from toolkit.store.layout import Layout, local_layout

SIZE_PX = 64


def begin(
    *,
    out: Path,
    dataset: str = "pretraining",
    seed: int = 0,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Writes a PixArt of five million random weights, its schedule, and a text encoder.

    The text encoder stays as it is: it tells words and their places apart, and what they mean the
    transformer learns.

    Args:
        out: the folder.
        dataset: whose captions' words the tokenizer knows.
        seed: of the weights.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    from train.pretraining.begin import write_pipeline

    count = write_pipeline(_layout(shards, manifests), dataset, out, SIZE_PX, seed)
    print(f"{out}: a transformer of {count / 1e6:.2f} million weights, nothing learned yet")


def autoencoder(
    *,
    out: Path,
    dataset: str = "pretraining",
    steps: int = 3000,
    batch_size: int = 16,
    seed: int = 0,
    threads: int = 2,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Trains the autoencoder of its latents, as OUT/vae.

    Args:
        out: the folder.
        dataset: of pictures with captions.
        steps: of the optimiser.
        batch_size: pictures of a step.
        seed: of weights and order.
        threads: of the arithmetic.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    import torch

    from train.pretraining.autoencoder import train_autoencoder

    torch.set_num_threads(threads)
    layout = _layout(shards, manifests)
    found = train_autoencoder(layout, dataset, out / "vae", SIZE_PX, steps, batch_size, seed)
    print(f"{out / 'vae'}: {found:.2f} dB on held-out pictures")


def clip(
    *,
    out: Path,
    dataset: str = "pretraining",
    steps: int = 1500,
    batch_size: int = 128,
    seed: int = 0,
    threads: int = 2,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Trains a CLIP, as OUT/clip.

    Args:
        out: the folder.
        dataset: of pictures with captions.
        steps: of the optimiser.
        batch_size: pictures of a step.
        seed: of weights and order.
        threads: of the arithmetic.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    import torch

    from train.pretraining.clip import train_clip

    torch.set_num_threads(threads)
    layout = _layout(shards, manifests)
    found = train_clip(layout, dataset, out / "clip", SIZE_PX, steps, batch_size, seed)
    print(f"{out / 'clip'}: {found:.0%} of held-out pictures find their caption among 32")


def unet(*, out: Path, parts: Path, seed: int = 0) -> None:
    """Writes a Stable Diffusion whose UNet has random weights, beside an autoencoder and a text
    encoder that are there.

    Args:
        out: the folder.
        parts: folder with vae and clip, as autoencoder and clip write them.
        seed: of the weights.
    """
    from train.pretraining.begin import write_stable_diffusion

    count = write_stable_diffusion(out, parts, SIZE_PX, seed)
    print(f"{out}: a UNet of {count / 1e6:.2f} million weights, nothing learned yet")


def sdxl(*, out: Path, parts: Path) -> None:
    """Writes an SDXL whose U-Net is a configuration without weights, for pixel_sdxl, beside an
    autoencoder and a text encoder that are there.

    Args:
        out: the folder.
        parts: folder with vae and clip, as autoencoder and clip write them.
    """
    from train.pretraining.begin import write_sdxl

    write_sdxl(out, parts, SIZE_PX)
    print(f"{out}: a U-Net without weights")


def finish(*, out: Path, run: Path, checkpoint: Path | None = None) -> None:
    """Puts a run's transformer or UNet into the pipeline, in half precision.

    Args:
        out: the folder.
        run: of train.run METHOD --config=backbone.
        checkpoint: of the run, or averaged weights that train.ema wrote; its last one otherwise.
    """
    from train.pretraining.begin import put_network

    part = put_network(out, run, checkpoint)
    print(f"{out / part}: the weights of {run}")


def _layout(shards: Path, manifests: Path) -> Layout:
    layout = local_layout(shards, manifests)
    if not layout.datasets():
        raise UserError("nothing is packed: python -m toolkit.pack pretraining makes pictures")
    return layout


if __name__ == "__main__":
    run(
        {
            "begin": begin,
            "autoencoder": autoencoder,
            "clip": clip,
            "unet": unet,
            "sdxl": sdxl,
            "finish": finish,
        },
        "python -m train.pretrain",
    )
