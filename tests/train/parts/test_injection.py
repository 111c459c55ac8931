"""Injected attention against attention written down, and against none."""

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0

from train.parts.injection import InjectedAttention, Injection, with_statistics


@pytest.fixture
def attn() -> Attention:
    torch.manual_seed(0)
    return Attention(query_dim=12, heads=3, dim_head=4, bias=False, processor=AttnProcessor2_0())


def test_the_last_group_attends_to_the_first_with_blended_queries(attn: Attention) -> None:
    x = torch.randn(6, 5, 12)
    style, plain, made = x.chunk(3)
    how = Injection(0.3, 1.7, is_on=True)
    with torch.no_grad():
        found = InjectedAttention(attn.processor, how)(attn, x)
        usual = attn(x)
        for n in range(2):
            for head in range(3):
                part = slice(4 * head, 4 * head + 4)
                query = 0.3 * attn.to_q(plain[n]) + 0.7 * attn.to_q(made[n])
                scores = 1.7 * query[:, part] @ attn.to_k(style[n])[:, part].T / 2
                wanted = scores.softmax(-1) @ attn.to_v(style[n])[:, part]
                if head == 0:
                    joined = torch.zeros(5, 12)
                joined[:, part] = wanted
            torch.testing.assert_close(found[4 + n], attn.to_out[0](joined), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[:4], usual[:4], rtol=1e-5, atol=1e-6)


def test_switched_off_or_across_it_is_the_base_bit_for_bit(attn: Attention) -> None:
    x, other = torch.randn(3, 5, 12), torch.randn(3, 7, 12)
    how = Injection()
    injected = InjectedAttention(attn.processor, how)
    with torch.no_grad():
        assert torch.equal(injected(attn, x), attn(x))
        how.is_on = True
        assert torch.equal(injected(attn, x, other), attn(x, other))


def test_of_itself_without_temperature_it_is_nothing(attn: Attention) -> None:
    """Style, plain and made the same: whatever γ is."""
    x = torch.randn(2, 5, 12).repeat(3, 1, 1)
    for gamma in (0.0, 0.4, 1.0):
        with torch.no_grad():
            found = InjectedAttention(attn.processor, Injection(gamma, 1.0, True))(attn, x)
        torch.testing.assert_close(found, attn(x), rtol=1e-5, atol=1e-6)


def test_statistics_are_those_of_the_other() -> None:
    x, like = torch.randn(2, 3, 8, 8) * 3 + 1, torch.randn(2, 3, 8, 8) * 0.2 - 4
    found = with_statistics(x, like)
    torch.testing.assert_close(found.mean((2, 3)), like.mean((2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.std((2, 3)), like.std((2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(with_statistics(x, x), x, rtol=1e-5, atol=1e-5)
