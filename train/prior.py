"""Makes prior pictures: what a model draws before it learns a style, to keep it from forgetting.

python -m train.prior --main=fewshot                    as the dataset prior
python -m train.prior --main=fewshot --scope=per_style  as prior-03, prior-07 …

Things that are drawn are those on the style's pictures and those of its prompts, under the prompt
that training uses for them too. Pictures that were made elsewhere do as well:
python -m toolkit.pack folder --src=DIR --name=prior --caption_from=name
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from toolkit.core import command
from toolkit.core.checks import at_least
from toolkit.core.config import describe
from toolkit.core.errors import UserError
from toolkit.store.layout import Layout, local_layout

METHOD = "dreambooth_lora"


def prior(
    *,
    config: str = "safe",
    main: str = "fewshot",
    style: str = "",
    objects: Path | None = None,
    scope: Literal["shared", "per_style"] = "shared",
    each: int = 8,
    name: str = "prior",
    steps: int = 25,
    guidance: float = 7.5,
    device: str | None = None,
    seed: int = 0,
    limit: int | None = None,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
    **overrides: str,
) -> None:
    """Draws each thing several times with the backbone alone, and packs the pictures.

    Args:
        config: the preset or TOML file that training will use: it names backbone, size and prompt.
        main: the dataset of the styles' pictures.
        style: the style whose things are drawn for all; the first otherwise.
        objects: a file of things to draw instead, a line each or JSON.
        scope: one dataset for all styles (shared), or one a style, NAME-STYLE.
        each: pictures of a thing.
        name: of the dataset.
        steps: of the solver.
        guidance: classifier-free guidance weight.
        device: cpu, cuda, cuda:1 …; the one of the preset otherwise.
        seed: of the noise.
        limit: only so many pictures, as the dataset NAME-rehearsal.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    from train.runs import alone
    from train.settings import fresh_config

    at_least(1, each=each, steps=steps)
    if scope == "per_style" and style:
        raise UserError("--style goes with --scope=shared")
    layout = local_layout(shards, manifests)
    things = _things(layout, main, objects)
    changes = {**overrides, **({"device": device} if device else {})}
    settings = fresh_config(METHOD, config, changes)
    wanted = {name: things[_chosen(things, style)]}
    if scope == "per_style":
        wanted = {f"{name}-{_slug(known)}": texts for known, texts in things.items()}
    with alone(settings):
        _make(settings, wanted, (each, steps, guidance, seed), layout, limit)


def _make(
    settings: Any,
    wanted: Mapping[str, list[str]],
    how: tuple[int, int, float, int],
    layout: Layout,
    limit: int | None,
) -> None:
    """Packs the pictures of each dataset. how: pictures of a thing, steps, guidance, seed."""
    from toolkit.encoders.device import usable_device
    from toolkit.encoders.loading import weights_hash
    from toolkit.packing.dataset import pack
    from train.many_pictures import differences
    from train.methods import config_module
    from train.methods.needs import DataFacts
    from train.numerics import open_numerics, place
    from train.pictures import BATCH_SIZE, StylizeSettings
    from train.prompted import PromptedSource
    from train.prompts import several
    from train.runs import build_method, needs_of, settled

    each, steps, guidance, seed = how
    usable_device(settings.device)
    numerics = open_numerics(settings)
    settings = settled(settings, DataFacts({"main": ("none",)}))
    method = build_method(settings)
    module = method.module().eval()
    place(module, settings, numerics)
    stylize = config_module(METHOD).Stylize(steps=steps, guidance=guidance, init="noise")
    chosen = StylizeSettings(
        stylize, needs_of(settings), seed, min(BATCH_SIZE, limit or BATCH_SIZE), numerics.precision
    )
    identity = {
        "backbone": settings.method_config.backbone,
        "weights": weights_hash([module], without=method.trainable_state()),
        "prompt": settings.method_config.prior_template,
    }
    for dataset, texts in wanted.items():
        prompts = several(texts, None, each)
        source = PromptedSource(method, chosen, identity, prompts, {}, layout)
        target = dataset if limit is None else f"{dataset}-rehearsal"
        differ = differences(layout, target, source.describe())
        result = pack(source, target, layout, samples_per_shard=64, limit=limit)
        if differ:
            print(f"{target} was made anew, with another {differ}; --name=… keeps both")
        print(f"{result.num_ok} pictures of {len(texts)} things in the dataset {target}")


def _things(layout: Layout, dataset: str, objects: Path | None) -> dict[str, list[str]]:
    """By style, what its pictures show and its prompts ask for. Raises UserError."""
    from toolkit.store.selection import select
    from train.prompts import read_prompts, stored_prompts

    if objects is not None:
        return {"": list(dict.fromkeys(read_prompts(objects)))}
    found: dict[str, list[str]] = {}
    table = select(dataset, dataset, "true", layout).table.select(["style", "caption"])
    for row in table.to_pylist():
        shown = found.setdefault(row["style"] or "", [])
        if row["caption"]:
            shown.append(row["caption"])
    for known, texts in stored_prompts(layout, dataset).items():
        if known in found:
            found[known] += texts
    things = {known: list(dict.fromkeys(texts)) for known, texts in sorted(found.items()) if texts}
    if not things:
        raise UserError(
            f"the pictures of {dataset} have no captions: name things by --objects=FILE"
        )
    return things


def _chosen(things: Mapping[str, list[str]], style: str) -> str:
    if style and style not in things:
        raise UserError(f"--style={style}: there are {', '.join(things)}")
    return style or next(iter(things))


def _slug(style: str) -> str:
    from toolkit.store.keys import make_key

    return make_key(style)


def _fields(_: list[str], flags: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The settings of the method's runs."""
    from train.settings import fresh_config

    return "settings of the method:", describe(
        fresh_config(METHOD, flags.get("config", "safe"), {})
    )


if __name__ == "__main__":
    command.run(prior, "python -m train.prior", fields=_fields)
