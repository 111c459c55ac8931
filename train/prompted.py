"""Pictures that a run makes from texts alone, as a source for the packer."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch

from toolkit.core.keyed import key63, key64
from toolkit.core.records import Link, Record
from toolkit.store.layout import Layout
from toolkit.store.samples import SampleReader
from train.methods.api import StylizeRequest
from train.one_picture import square
from train.pictures import Made
from train.prompts import Prompt


@dataclass
class PromptedSource(Made):
    """A picture of each prompt.

    prompts: what is to be drawn. references: by style, the pictures that show it: (dataset, key);
    pictures are linked to all of their style's; where the method wants one of them, each prompt has
    its own. layout: where these lie.
    """

    prompts: Sequence[Prompt]
    references: Mapping[str, Sequence[tuple[str, str]]]
    layout: Layout

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
            },
        )

    def data(self) -> dict[str, Any]:
        """The prompts and the styles' pictures."""
        return {
            "prompts": [[p.style, p.text, p.number] for p in self.prompts],
            "references": {style: list(map(list, found)) for style, found in
                           self.references.items()},
        }  # fmt: skip

    def _shown(self, prompt: Prompt) -> tuple[str, str] | None:
        """The picture of its style that a prompt is made with: (dataset, key)."""
        found = self.references.get(prompt.style or "", ())
        if not found or not getattr(self.settings.how, "wants_style", False):
            return None
        return found[key64("shown", prompt.style or "", prompt.text) % len(found)]

    def _picture(self, dataset: str, key: str) -> torch.Tensor:
        """float [1,3,S,S] in [-1,1]."""
        data = SampleReader(self.layout, dataset).picture(key)
        return square(data, self.settings.needs.size)

    @cached_property
    def _names(self) -> list[str]:
        return [prompt.name for prompt in self.prompts]

    @cached_property
    def _plain(self) -> Counter[str]:
        return Counter(map(_plain, self._names))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
