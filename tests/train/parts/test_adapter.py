"""The style branch: nothing at gate 0, bit for bit; PyTorch's own attention otherwise."""

import torch
from diffusers import PixArtTransformer2DModel
from torch.nn import functional

from train.parts.adapter import StyleAttention, attach


def transformer() -> PixArtTransformer2DModel:
    torch.manual_seed(0)
    return PixArtTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=4, num_layers=3,
        cross_attention_dim=16, sample_size=8, patch_size=2, caption_channels=12,
        use_additional_conditions=False,
    ).eval()  # fmt: skip


def inputs(style: bool) -> dict:
    g = torch.Generator().manual_seed(1)
    mask = torch.ones(2, 5)
    mask[1, 3:] = 0
    given = {
        "hidden_states": torch.randn(2, 4, 8, 8, generator=g),
        "encoder_hidden_states": torch.randn(2, 5, 12, generator=g),
        "encoder_attention_mask": mask,
        "timestep": torch.tensor([10.0, 900.0]),
        "return_dict": False,
    }
    if style:
        tokens = torch.randn(2, 7, 6, generator=g)
        given["cross_attention_kwargs"] = {"ip_hidden_states": (tokens, torch.ones(2), ())}
    return given


@torch.no_grad()
def test_gates_at_zero_change_no_bit() -> None:
    plain, adapted = transformer(), transformer()
    attach(adapted, [1, 2], token_dim=6, gate=0.0)
    expected = plain(**inputs(style=False))[0]
    assert torch.equal(adapted(**inputs(style=True))[0], expected)
    assert torch.equal(adapted(**inputs(style=False))[0], expected)


@torch.no_grad()
def test_open_gates_change_the_output_and_strength_zero_undoes_it() -> None:
    plain, adapted = transformer(), transformer()
    attach(adapted, [1, 2], token_dim=6, gate=0.1)
    expected = plain(**inputs(style=False))[0]
    given = inputs(style=True)
    assert not torch.allclose(adapted(**given)[0], expected)
    tokens, strength, _ = given["cross_attention_kwargs"]["ip_hidden_states"]
    given["cross_attention_kwargs"]["ip_hidden_states"] = (
        tokens,
        strength * torch.tensor([0, 1]),
        (),
    )
    changed = adapted(**given)[0]
    assert torch.equal(changed[0], expected[0])
    assert not torch.allclose(changed[1], expected[1])


@torch.no_grad()
def test_equation_5_of_ip_adapter() -> None:
    """W_o(text attention + g · style attention), with torch's attention as the reference."""
    model = transformer()
    added = attach(model, [2], token_dim=6, gate=0.3)
    attn, style = model.transformer_blocks[2].attn2, added["2"]
    assert isinstance(style, StyleAttention)
    g = torch.Generator().manual_seed(2)
    hidden = torch.randn(2, 4, 16, generator=g)
    text = torch.randn(2, 5, 16, generator=g)
    tokens = torch.randn(2, 7, 6, generator=g)

    def attention(keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        query, keys, values = (
            x.view(2, -1, 2, 8).transpose(1, 2) for x in (attn.to_q(hidden), keys, values)
        )
        weights = (query @ keys.transpose(-1, -2) / 8**0.5).softmax(-1)
        return (weights @ values).transpose(1, 2).reshape(2, 4, 16)

    both = attention(attn.to_k(text), attn.to_v(text)) + torch.tanh(style.gate) * attention(
        tokens @ style.to_k_style.weight.T, tokens @ style.to_v_style.weight.T
    )
    expected = functional.linear(both, attn.to_out[0].weight, attn.to_out[0].bias)
    found = attn(hidden, encoder_hidden_states=text, ip_hidden_states=(tokens, torch.ones(2), ()))
    assert torch.allclose(found, expected, atol=1e-6)


def test_only_the_chosen_layers_are_adapted_and_no_warning_is_logged(caplog) -> None:
    model = transformer()
    added = attach(model, [1], token_dim=6, gate=0.1)
    assert list(added) == ["1"]
    names = {n for n, _ in model.named_parameters() if "processor" in n}
    assert names == {
        f"transformer_blocks.1.attn2.processor.{x}"
        for x in ("gate", "to_k_style.weight", "to_v_style.weight")
    }
    model(**inputs(style=True))
    assert "ip_hidden_states" not in caplog.text
    assert "not expected" not in caplog.text


def test_small_gate_lets_gradients_through_to_keys_and_values() -> None:
    model = transformer()
    added = attach(model, [2], token_dim=6, gate=0.05)
    model(**inputs(style=True))[0].square().mean().backward()
    for parameter in added.parameters():
        assert parameter.grad.abs().sum() > 0
