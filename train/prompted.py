"""Pictures that a run makes from texts alone, as a source for the packer."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from toolkit.core.keyed import key63, key64
from toolkit.core.records import Link, Record
from toolkit.measures.stylization import StyleLook
from toolkit.store.images import decode_rgb
from toolkit.store.layout import Layout
from toolkit.store.samples import SampleReader
from train.falling_back import FallingBack
from train.methods.api import StylizeRequest
from train.one_picture import cut_middle
from train.pictures import Made
from train.prompts import Prompt


@dataclass
class PromptedSource(Made):
    """A picture of each prompt.

    prompts: what is to be drawn. references: by style, the pictures that show it: (dataset, key);
    pictures are linked to all of their style's; where the method wants one of them, each prompt has
    its own. layout: where these lie. fallbacks: how pictures that do not look like their style are
    drawn again, one way after the other.
    """

    prompts: Sequence[Prompt]
    references: Mapping[str, Sequence[tuple[str, str]]]
    layout: Layout
    fallbacks: Sequence[Any] = ()

    def __post_init__(self) -> None:
        self._back = FallingBack(self.fallbacks)

    def names(self) -> Sequence[str]:
        """STYLE/TEXT."""
        return self._names

    def key(self, name: str) -> str:
        """In small letters, unless another text differs from it in these alone."""
        plain = _plain(name)
        return plain if self._plain[plain] == 1 else ""

    def request(self, start: int, stop: int, device: torch.device) -> StylizeRequest:
        """Each prompt with noise of its own: a function of the seed, the style and the text."""
        some = self.prompts[start:stop]
        seeds = [key63("prompt", self.settings.seed, p.style or "", p.text, p.number) for p in some]
        shown = [self._shown(prompt) for prompt in some]
        style = None
        if all(shown):
            style = torch.cat([self._picture(*one) for one in shown if one]).to(device)
        return StylizeRequest(
            content=None,
            style=style,
            has_style=torch.tensor([one is not None for one in shown], device=device),
            captions=tuple(prompt.text for prompt in some),
            seeds=torch.tensor(seeds),
            how=self.settings.how,
            styles=tuple(prompt.style for prompt in some),
        )

    def draw(self, first: int, request: StylizeRequest) -> list[np.ndarray]:
        """The pictures; those that do not look like their style in other ways."""
        made = super().draw(first, request)
        if not self.fallbacks:
            return made
        found = []
        for number, pixels in enumerate(made, first):

            def again(way: Any, number: int = number) -> np.ndarray:
                one = self.request(number, number + 1, request.has_style.device)
                return super(PromptedSource, self).draw(number, replace(one, how=way))[0]

            found.append(self._back.keep(number, pixels, self._look(self.prompts[number]), again))
        return found

    def notes(self) -> list[str]:
        """How many were drawn again."""
        return self._back.notes()

    def record(self, number: int, members: dict[str, bytes]) -> Record:
        """With the text as its caption."""
        prompt = self.prompts[number]
        style, shown = self.references.get(prompt.style or "", ()), self._shown(prompt)
        return Record(
            members=members,
            captions=(prompt.text,),
            title=prompt.text,
            style=prompt.style,
            links=tuple(Link("style", dataset, key) for dataset, key in style),
            protocol="prompt-1",
            extra={
                **asdict(self.settings.how),
                "seed": self.settings.seed,
                "nth": prompt.number,
                **({"shown": shown[1]} if shown else {}),
                **self._tries(number),
            },
        )

    def data(self) -> dict[str, Any]:
        """The prompts and the styles' pictures."""
        return {
            "prompts": [[p.style, p.text, p.number] for p in self.prompts],
            "references": {style: list(map(list, found)) for style, found in
                           self.references.items()},
        }  # fmt: skip

    def _look(self, prompt: Prompt) -> StyleLook | None:
        found = self.references.get(prompt.style or "", ())

        def pictures() -> list[np.ndarray]:
            return [
                decode_rgb(SampleReader(self.layout, place).picture(key)) for place, key in found
            ]

        return self._back.style(prompt.style or "", pictures)

    def _tries(self, number: int) -> dict[str, Any]:
        """How often a picture was drawn again, and how far from its style's look it is."""
        drawn = self._back.drawn.get(number)
        if drawn is None:
            return {}
        told = {"distance": round(drawn.distance, 4), "farthest": round(drawn.farthest, 4)}
        return {"drawn_again": drawn.tries, "look": told}

    def _shown(self, prompt: Prompt) -> tuple[str, str] | None:
        """The picture of its style that a prompt is made with: (dataset, key)."""
        found = self.references.get(prompt.style or "", ())
        if not found or not getattr(self.settings.how, "wants_style", False):
            return None
        return found[key64("shown", prompt.style or "", prompt.text) % len(found)]

    def _picture(self, dataset: str, key: str) -> torch.Tensor:
        """float [1,3,S,S] in [-1,1]."""
        data = SampleReader(self.layout, dataset).picture(key)
        return cut_middle(data, (self.settings.needs.size,) * 2)

    @cached_property
    def _names(self) -> list[str]:
        return [prompt.name for prompt in self.prompts]

    @cached_property
    def _plain(self) -> Counter[str]:
        return Counter(map(_plain, self._names))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
