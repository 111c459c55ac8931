"""The method `ot_cfm`: flow matching on latents, and translation by inversion and generation."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch

from toolkit.core.errors import UserError
from toolkit.core.keyed import key63
from toolkit.core.nearest import or_nearest
from toolkit.encoders.api import Codec, encoder_module, open_encoder
from toolkit.stream.batch import Batch
from train.methods.api import LossOut, StylizeRequest
from train.methods.base import Base, seeded
from train.methods.ot_cfm.config import Config, Stylize, label_of
from train.methods.ot_cfm.net import IsoNext, parts_of
from train.methods.ot_cfm.translate import BUDGETS, Translator, relative_error
from train.parts.coupling import couple
from train.parts.flow import interpolate
from train.parts.noise import normal, sample_generators, uniform
from train.parts.samplers import evaluations

# Features that `prepare` adds: which sample's noise goes with each, and seeds of time and dropping.
NOISE_SEED, TIME_SEED = "noise_seed", "time_seed"
_COLUMNS = 4  # target styles that are shown while a run is watched
_MEASURED = 8  # samples whose round trip is measured


class Method(Base):
    """Learns one velocity field for all styles (Lipman et al. 2023; Tong et al. 2023), from stored
    latents."""

    def __init__(self, config: Config, seed: int):
        self.config = config
        self.sees_whole_batches = config.coupling != "independent"
        with seeded(seed):
            self.net = IsoNext(config.net, len(config.styles))
        none = len(config.styles) if config.label_drop else None
        self.translator = Translator(self._velocity, none)
        self._identity: Mapping[str, Any] = json.loads(config.encoder or "{}")
        self._told: list[str] = []
        self._is_measured = False
        self._solvers: dict[Stylize, Stylize] = {}  # that keep a tolerance

    def module(self) -> torch.nn.Module:
        """The network, with what latents are standardised by."""
        return self.net

    def param_groups(self) -> list[dict[str, Any]]:
        """Matrices with weight decay; vectors and embeddings without."""
        return parts_of(self.net)

    def calibrate(self, batches: Iterator[Batch]) -> None:
        """Takes mean and deviation of each channel from the first samples of the stream, drawn from
        their posteriors where they have some."""
        found: list[torch.Tensor] = []
        while sum(map(len, found)) < self.config.calibration:
            batch = next(batches)
            found.append(self._scaled(batch, sample_generators(batch.sample_seed)))
        values = torch.cat(found)[: self.config.calibration].transpose(0, 1).flatten(1).double()
        self.net.mean.copy_(values.mean(1)[:, None, None])
        self.net.std.copy_(values.std(1).clamp(min=1e-4)[:, None, None])

    def prepare(self, batch: Batch) -> Batch:
        """Pairs noise and data of the whole batch, where a coupling asks for it."""
        if not self.sees_whole_batches:
            return batch
        generators = sample_generators(batch.sample_seed)
        data = self._standard(self._scaled(batch, sample_generators(batch.sample_seed + 1)).cpu())
        noise = normal(generators, data.shape[1:], "cpu")
        labels = self._labels(batch).tolist()
        first = int(batch.sample_seed[0])
        pairs = couple(self.config.coupling, noise, data, labels, first)
        chosen = batch.take(pairs.data)
        there = torch.ones(len(chosen), dtype=torch.bool)
        added = {
            NOISE_SEED: (batch.sample_seed[pairs.noise], there),
            TIME_SEED: (_seeds_of_copies(chosen.sample_seed), there),
        }
        return dataclasses.replace(chosen, features={**chosen.features, **added})

    def training_loss(self, batch: Batch) -> LossOut:
        """Squared error of the velocity at a random time of the straight path from noise to data,
        mean over the latent."""
        device = batch.weights.device
        generators = sample_generators(batch.sample_seed + 1)  # of all but the noise
        if "noise" in batch.features:  # of the latents' means
            x1, x0 = self.latents(batch), batch.features["noise"][0].float()
        else:
            seeds, _ = batch.features.get(NOISE_SEED, (batch.sample_seed, None))
            x1 = self._standard(self._scaled(batch, generators))
            x0 = normal(sample_generators(seeds), x1.shape[1:], device)
        if TIME_SEED in batch.features:
            generators = sample_generators(batch.features[TIME_SEED][0])
        t = self._times(generators).to(device)
        labels = self._labels(batch).to(device)
        dropped = uniform(generators, device) < self.config.label_drop
        labels = torch.where(dropped, len(self.config.styles), labels)
        found = self._velocity(interpolate(x1, x0, t), t, labels)
        loss = (found.float() - (x1 - x0)).square().flatten(1).mean(1)
        return LossOut(loss, {})

    @torch.no_grad()
    def stylize(self, request: StylizeRequest) -> torch.Tensor:
        """Pictures in the target style: latents back to the noise under their own style, and on to
        the target's."""
        how: Stylize = request.how
        x = self._encoded(request)
        source = self._source(request, how).to(x.device)
        target = torch.full_like(source, self.number(how.target_style or self._other(source)))
        if how.tolerance:
            how = self._cheapest(x[:_MEASURED], source[:_MEASURED], how)
        noise = self.translator.invert(x, source, how)
        if not self._is_measured:
            self._is_measured = True
            self._told.append(self._measured(x, source, noise, how))
        return self.decoded(self.translator.generate(noise, target, how))

    def notes(self) -> list[str]:
        """The error of a round trip of the first pictures, for nothing conserves it."""
        return self._told

    def request(self, batch: Batch, how: Any) -> StylizeRequest:
        """The samples' own pictures, from the styles that they are of."""
        return StylizeRequest(
            content=batch.images["target"].floats(),
            style=None,
            has_style=torch.zeros(len(batch), dtype=torch.bool),
            captions=batch.captions,
            seeds=batch.sample_seed,
            how=how,
            labels=self.names(batch),
        )

    def style_of(self, how: Any, own: str | None, task: str) -> str | None:
        """The target's name."""
        if how.target_style:
            return self.config.styles[self.number(how.target_style)]
        source = how.source_style or label_of(self.config, own, task)
        return self._other(torch.tensor([self.number(source)]))

    @torch.no_grad()
    def columns(self, batch: Batch, how: Any) -> dict[str, torch.Tensor]:
        """The pictures, and in each style what becomes of their stored latents."""
        found = {"picture": batch.images["target"].floats()}
        x, source = self.latents(batch), self._labels(batch)
        source = source.to(x.device)
        if self.translator.none is None:
            how = dataclasses.replace(how, guidance=1.0)
        noise = self.translator.invert(x, source, how)
        for number, style in enumerate(self.config.styles[:_COLUMNS]):
            target = torch.full_like(source, number)
            made = self.decoded(self.translator.generate(noise, target, how))
            found[style] = made.to(found["picture"].device)
        return found

    def number(self, style: str) -> int:
        """The number of a style that is given by name or number. Raises UserError."""
        styles = self.config.styles
        if style in styles:
            return styles.index(style)
        if style.isdigit() and int(style) < len(styles):
            return int(style)
        raise UserError(
            f"the run knows no style {style!r}: it has {', '.join(styles)}"
            f"{or_nearest(style, styles)}"
        )

    def names(self, batch: Batch) -> tuple[str, ...]:
        """The label of each sample."""
        tasks = [batch.tasks[index] for index in batch.task.tolist()]
        named = zip(batch.style_names, tasks, strict=True)
        return tuple(label_of(self.config, style, task) for style, task in named)

    def latents(self, batch: Batch) -> torch.Tensor:
        """Standardised latents of a batch, float32 [N,C,h,w]: what the flow ends in."""
        return self._standard(self._scaled(batch, None))

    def standardised(
        self, stored: torch.Tensor, task: str, styles: Sequence[str | None]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Standardised latents [N,C,h,w] of stored ones of a task, and their labels' numbers."""
        convert = encoder_module(self._identity["encoder"]).to_latents
        x = self._standard(convert(self._identity, stored).to(self.net.mean.device))
        numbers = self._numbers(label_of(self.config, style, task) for style in styles)
        return x, numbers.to(x.device)

    def encoded(self, pictures: torch.Tensor) -> torch.Tensor:
        """Standardised latents of pictures, float [N,3,S,S] in [-1,1], rounded to 8 bits."""
        pixels = ((pictures + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        latents = self.codec.latents(self.codec.encode(pixels)["latent"])
        return self._standard(latents.to(self.net.mean.device))

    def decoded(self, x: torch.Tensor) -> torch.Tensor:
        """Pictures, float [N,3,S,S] in [-1,1], of standardised latents."""
        return self.codec.decode(x.float() * self.net.std + self.net.mean).clamp(-1, 1)

    @cached_property
    def codec(self) -> Codec:
        """What made the latents. Raises UserError where its weights are not there or are others."""
        found: Codec = open_encoder(
            self._identity["encoder"], self.config.weights or None,
            str(next(self.net.parameters()).device), self._identity["precision"],
        )  # fmt: skip
        if dict(found.identity) != dict(self._identity):
            raise UserError(
                f"--weights={self.config.weights}: not the weights that the latents of the run "
                "were made with"
            )
        return found

    def _velocity(self, x: torch.Tensor, t: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.net(x, t, labels)
        return found

    def _times(self, generators: list[torch.Generator]) -> torch.Tensor:
        if self.config.time == "uniform":
            return uniform(generators, "cpu")
        return normal(generators, (), "cpu").sigmoid()  # Esser et al. 2024, arXiv 2403.03206, 3.1

    def _scaled(self, batch: Batch, generators: list[torch.Generator] | None) -> torch.Tensor:
        """A batch's latents as models see them, float32 [N,C,h,w]; the posterior's mean without
        generators."""
        stored, _ = batch.features["latent"]
        convert = encoder_module(self._identity["encoder"]).to_latents
        plain: torch.Tensor = convert(self._identity, stored)
        if generators is None or plain.shape == stored.shape:
            return plain
        drawn: torch.Tensor = convert(
            self._identity, stored, normal(generators, plain.shape[1:], stored.device)
        )
        return drawn

    def _standard(self, latents: torch.Tensor) -> torch.Tensor:
        mean, std = self.net.mean.to(latents.device), self.net.std.to(latents.device)
        return (latents - mean) / std

    def _encoded(self, request: StylizeRequest) -> torch.Tensor:
        """Standardised latents of what is to be translated."""
        if request.latents is not None:
            latents = request.latents
            expected = self.config.net.channels
            if latents.shape[1] != expected:
                raise UserError(
                    f"a latent of {latents.shape[1]} channels: the run works on {expected}"
                )
        else:
            assert request.content is not None
            return self.encoded(request.content)
        return self._standard(latents.to(self.net.mean.device))

    def _measured(
        self, x: torch.Tensor, source: torch.Tensor, noise: torch.Tensor, how: Stylize
    ) -> str:
        """A round trip of some of the samples, whose way back is known already."""
        some = slice(_MEASURED)
        back = self.translator.generate(noise[some], source[some], how.plain)
        error = relative_error(back, x[some])
        cost = evaluations(how.solver, how.steps)
        return (
            f"round trip, mean of {len(back)}: relative error {error.mean():.2g} "
            f"({how.solver}, {cost} evaluations each way)"
        )

    def _cheapest(self, x: torch.Tensor, source: torch.Tensor, how: Stylize) -> Stylize:
        """The solver for a tolerance, the same for all pictures that are made in that way."""
        if how not in self._solvers:
            self._solvers[how], error = self.translator.cheapest(x, source, how)
            if error > how.tolerance:
                self._told.append(
                    f"--tolerance={how.tolerance:g} is not reached: the most exact of all solvers "
                    f"within {BUDGETS[-1]} evaluations is taken, off by {error:.1e}"
                )
        return self._solvers[how]

    def _labels(self, batch: Batch) -> torch.Tensor:
        """int64 [N]; a style that the run does not know, as held-out samples may have, is none."""
        return self._numbers(self.names(batch))

    def _numbers(self, names: Iterable[str]) -> torch.Tensor:
        known = {name: number for number, name in enumerate(self.config.styles)}
        return torch.tensor([known.get(name, len(known)) for name in names])

    def _source(self, request: StylizeRequest, how: Stylize) -> torch.Tensor:
        if how.source_style:
            labels = [self.number(how.source_style)] * len(request.seeds)
            return torch.tensor(labels)
        styles, known = self.config.styles, [name in self.config.styles for name in request.labels]
        if request.labels and all(known):
            return torch.tensor([styles.index(str(name)) for name in request.labels])
        if len(styles) == 2 and how.target_style:
            return torch.full((len(request.seeds),), 1 - self.number(how.target_style))
        raise UserError(
            f"of which style is the picture? Name it with --source_style: {', '.join(styles)}"
        )

    def _other(self, source: torch.Tensor) -> str:
        """The style that is left where there are two."""
        if len(self.config.styles) != 2 or len(set(source.tolist())) != 1:
            raise UserError(f"name the style with --target_style: {', '.join(self.config.styles)}")
        return self.config.styles[1 - int(source[0])]


def _seeds_of_copies(seeds: torch.Tensor) -> torch.Tensor:
    """int64 [N]: a seed of its own for each time that a sample stands in a batch."""
    count: Counter[int] = Counter()
    found = []
    for seed in seeds.tolist():
        found.append(key63("copy", seed, count[seed]))
        count[seed] += 1
    return torch.tensor(found)
