"""What a method wants from the data, and what the data tell a method; without torch.

A method's `config.py` has

    Config                     the method's settings, a frozen dataclass
    Stylize                    how it makes pictures, a frozen dataclass with a field `steps`
    needs(config) -> Needs
    pretrained(config, used_by) -> Iterator[Weights]    optional: of others, that it begins with
    is_large(config) -> bool          optional: whether it shares a GPU with no other large model
    stylize(config) -> Stylize        optional: how pictures are made by default, by the settings
    settle(config, data) -> Config    optional: fills in what the data decide
    fallbacks(stylize) -> (Stylize, …)    optional: other ways to draw what is not of its style
    example_flags(config) -> str      optional: flags without which `train.stylize` refuses
    next_command(config, run) -> str  optional: what a finished run is followed by, but pictures
    from_json(text)                   optional: dotted names and texts, and notes, of a
                                      configuration of another program
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

INVERT = "train.invert --run=…"  # makes the noise that a flow begins in


@dataclass(frozen=True)
class Feature:
    """A stored tensor that comes with each sample. name: in batches; role: of the picture that it
    belongs to; sidecar: where it lies; output: of the sidecar, its first otherwise; command: what
    makes it, or, beginning with `--`, the flags by which `toolkit.encode` does; otherwise: the role
    whose picture's tensor stands in where a sample has none of that role."""

    name: str
    role: str
    sidecar: str
    output: str | None = None
    command: str = ""
    otherwise: str | None = None


@dataclass(frozen=True)
class Needs:
    """What a method wants from the loader.

    roles: of target, content, style, whose pictures are decoded for training; size: pixels a side;
    features: stored tensors; inputs: the roles that pictures are made from, `target` standing for
    the sample's own picture; none where pictures are made from texts. takes: roles that may be
    given besides when pictures are made. multiple: pictures may be of any shape whose sides are
    multiples of so many pixels, 0 for squares of `size` alone.
    """

    roles: tuple[str, ...]
    size: int
    features: tuple[Feature, ...] = ()
    inputs: tuple[str, ...] = ("content", "style")
    takes: tuple[str, ...] = ()
    multiple: int = 0


@dataclass(frozen=True)
class FeatureFacts:
    """What is known of a feature. encoder: identity of what made it; settings: of its sidecar;
    shape: of one tensor; recipe: hash of how the sidecar is made."""

    encoder: Mapping[str, Any]
    settings: Mapping[str, Any]
    shape: tuple[int, ...]
    recipe: str = ""


@dataclass(frozen=True)
class DataFacts:
    """What the data of a run are. styles: by task, the styles that its samples name, None where
    some name none; features: by name."""

    styles: Mapping[str, tuple[str | None, ...]]
    features: Mapping[str, FeatureFacts] = field(default_factory=dict)
