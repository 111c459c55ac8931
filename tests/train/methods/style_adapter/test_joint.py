"""The method's own claims: gates, colours, captions, style switches."""

import dataclasses

import pytest
import torch

from toolkit.core.config import load_toml, resolve
from toolkit.core.errors import UserError
from train.methods import preset_path
from train.methods.api import StylizeRequest
from train.methods.style_adapter.config import NetConfig, Stylize
from train.methods.style_adapter.joint import Joint
from train.methods.style_adapter.joint_net import Net
from train.methods.style_adapter.words import HashedWords
from train.runs import build_method, default_config

TINY = NetConfig(image_size=16, num_layers=3, num_heads=2, head_dim=8, style_layers=2, gate=0.3)


def net(gate: float = 0.3) -> Net:
    torch.manual_seed(3)
    made = Net(dataclasses.replace(TINY, gate=gate)).eval()
    with torch.no_grad():  # the head starts as nothing; let it matter
        made.head.layers[-1].weight.normal_(std=0.1)
    return made


def forward(model: Net, style: torch.Tensor, strength: float = 1.0, text: str = "a cat"):
    g = torch.Generator().manual_seed(4)
    noisy, content = torch.randn(2, 2, 48, 4, 4, generator=g)
    with torch.no_grad():
        tokens = model.style(model.encode(style))
        return model(
            noisy, torch.tensor([0.2, 0.7]), content, model.text((text, text)), tokens,
            torch.full((2,), strength),
        )  # fmt: skip


STYLES = torch.rand(2, 2, 3, 16, 16, generator=torch.Generator().manual_seed(5)) * 2 - 1


def test_gates_at_zero_are_the_unadapted_transformer_bit_for_bit() -> None:
    """The reference is diffusers' own transformer, the same weights without our processors."""
    from diffusers import PixArtTransformer2DModel

    model = net(gate=0.0)
    plain = PixArtTransformer2DModel.from_config(model.transformer.config).eval()
    state = {k: v for k, v in model.transformer.state_dict().items() if ".processor." not in k}
    plain.load_state_dict(state, strict=True)
    g = torch.Generator().manual_seed(4)
    latents, (text, mask) = torch.randn(2, 96, 4, 4, generator=g), model.text(("a", "b c"))
    with torch.no_grad():
        tokens = model.style(model.encode(STYLES[0]))
        given = {
            "encoder_hidden_states": text,
            "encoder_attention_mask": mask,
            "timestep": torch.tensor([100.0, 700.0]),
            "return_dict": False,
        }
        kwargs = {"cross_attention_kwargs": {"ip_hidden_states": (tokens, torch.ones(2), ())}}
        assert torch.equal(
            model.transformer(latents, **given, **kwargs)[0], plain(latents, **given)[0]
        )
        open_gates = net(gate=0.3).transformer(latents, **given, **kwargs)[0]
    assert not torch.allclose(open_gates, plain(latents, **given)[0])


def test_style_is_seen_through_the_gates_only() -> None:
    assert not torch.allclose(forward(net(), STYLES[0]), forward(net(), STYLES[1]))
    assert torch.equal(forward(net(), STYLES[0], strength=0), forward(net(), STYLES[1], strength=0))
    assert torch.equal(forward(net(0.0), STYLES[0]), forward(net(0.0), STYLES[1]))


def test_the_last_layers_are_adapted() -> None:
    assert sorted(net().adapter) == ["1", "2"]


def test_captions_matter() -> None:
    assert not torch.allclose(
        forward(net(), STYLES[0], text="red"), forward(net(), STYLES[0], text="blue")
    )


def test_structure_drops_colours_and_keeps_edges() -> None:
    """A picture whose channels are scaled and shifted has the same structure."""
    pixels = STYLES[0]
    gain = torch.tensor([0.3, 0.5, 0.2]).view(1, 3, 1, 1)
    shift = torch.tensor([0.2, -0.4, 0.1]).view(1, 3, 1, 1)
    model = net()
    torch.testing.assert_close(
        model.structure(pixels * gain + shift), model.structure(pixels), atol=0.02, rtol=0.02
    )
    assert not torch.allclose(model.structure(pixels), model.structure(pixels.flip(3)), atol=0.1)


def test_flat_pictures_stay_finite_with_finite_gradients() -> None:
    model = net()
    flat = torch.zeros(2, 3, 16, 16)
    out = model.style(model.encode(flat)).sum() + model.structure(flat).sum()
    out.backward()
    assert torch.isfinite(out)
    grads = [p.grad for p in model.style.parameters() if p.grad is not None]
    assert grads
    assert all(torch.isfinite(g).all() for g in grads)


def test_words_know_their_place_and_ignore_case_and_commas() -> None:
    torch.manual_seed(0)
    words = HashedWords(8, 64)
    one, mask = words(("red circle with blue background", ""))
    assert one.shape == (2, 24, 8)
    assert mask.sum(1).tolist() == [5, 1]
    swapped, _ = words(("blue circle with red background", ""))
    assert not torch.allclose(one[0], swapped[0])
    same, _ = words(("Red circle, with BLUE background!", ""))
    assert torch.equal(one, same)
    long, mask = words((" ".join(["word"] * 99),))
    assert mask.sum() == 24
    assert torch.isfinite(long).all()


def test_guidance_one_is_none_and_more_moves_away_from_the_plain_prediction() -> None:
    config = resolve(
        default_config("style_adapter"), load_toml(preset_path("style_adapter", "smoke")), "smoke"
    )
    config = dataclasses.replace(
        config, method_config=dataclasses.replace(config.method_config, net=TINY)
    )
    method: Joint = build_method(config)
    request = StylizeRequest(
        content=STYLES[0], style=STYLES[1], has_style=torch.ones(2, dtype=torch.bool),
        captions=("", ""), seeds=torch.tensor([1, 2]), how=Stylize(steps=2),
    )  # fmt: skip

    def made(**changes) -> torch.Tensor:
        how = dataclasses.replace(request.how, **changes)
        return method.stylize(dataclasses.replace(request, how=how))

    plain, styled, guided = made(style_scale=0.0), made(), made(guidance=3.0)
    assert torch.equal(made(guidance=0.0), plain)
    assert (guided - plain).abs().mean() > 1.5 * (styled - plain).abs().mean()


@pytest.mark.parametrize("layers", [1, 3])
def test_number_of_adapted_layers_follows_the_config(layers: int) -> None:
    model = Net(dataclasses.replace(TINY, style_layers=layers))
    assert sorted(model.adapter) == [str(i) for i in range(3 - layers, 3)]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"style_layers": 9}, "style_layers=9: there are only num_layers=6"),
        ({"image_size": 60}, "image_size=60: takes a multiple of 8"),
        ({"num_heads": 0}, "num_heads=0: takes 1 or more"),
    ],
)
def test_sizes_that_do_not_go_together_are_one_line(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        NetConfig(**sizes)
