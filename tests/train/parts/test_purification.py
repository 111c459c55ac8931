"""Purified tokens: orthogonal where they should be, as long as before, untouched where there is no
content."""

import pytest
import torch

from train.parts.purification import Kind, Purification

KINDS: tuple[Kind, ...] = ("none", "projection", "gated")


def given() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return torch.randn(3, 4, 16, generator=g) * 5, torch.randn(3, 1, 16, generator=g)


@pytest.mark.parametrize("kind", KINDS)
def test_norms_stay_and_absent_contents_change_nothing(kind: Kind) -> None:
    tokens, content = given()
    there = torch.tensor([True, False, True])
    found = Purification(kind, 16)(tokens, content, there)
    torch.testing.assert_close(found.norm(dim=-1), tokens.norm(dim=-1))
    assert torch.equal(found[1], tokens[1])
    assert torch.equal(found, tokens) == (kind == "none")


def test_a_projection_leaves_nothing_along_the_content() -> None:
    tokens, content = given()
    found = Purification("projection", 16)(tokens, content, torch.ones(3, dtype=torch.bool))
    along = torch.einsum("ntd,nd->nt", found, torch.nn.functional.normalize(content[:, 0], dim=-1))
    assert along.abs().max() < 1e-4
    # what is left lies in the plane of token and content: nothing else was added
    basis = torch.linalg.qr(torch.stack([tokens[0, 0], content[0, 0]], 1)).Q
    torch.testing.assert_close(basis @ (basis.T @ found[0, 0]), found[0, 0], atol=1e-4, rtol=1e-4)


def test_a_gate_begins_small_and_is_learned() -> None:
    tokens, content = given()
    part = Purification("gated", 16)
    found = part(tokens, content, torch.ones(3, dtype=torch.bool))
    direction = tokens - 0.1192 * content
    expected = direction / direction.norm(dim=-1, keepdim=True) * tokens.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
    (found * torch.randn(16, generator=torch.Generator().manual_seed(1))).sum().backward()
    assert part.gate.weight.grad is not None
    assert part.gate.weight.grad.abs().sum() > 0


def test_tokens_that_are_the_content_stay_finite() -> None:
    tokens, _ = given()
    found = Purification("projection", 16)(tokens, tokens, torch.ones(3, dtype=torch.bool))
    assert found.isfinite().all()
