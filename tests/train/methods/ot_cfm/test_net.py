"""The isotropic ConvNeXt: what it computes, and what it costs."""

import pytest
import torch
import torch.nn.functional as F

from train.methods.ot_cfm.config import NetConfig
from train.methods.ot_cfm.net import GRN, AdaGN, Block, IsoNext, time_features

TINY = NetConfig(
    hidden_dim=16, num_layers=2, style_dim=6, time_dim=8, kernel_size=5, expansion=2, channels=3
)


def test_a_new_network_has_no_velocity_and_any_size_will_do() -> None:
    net = IsoNext(TINY, 4)
    for height, width in ((8, 8), (5, 9)):
        found = net(torch.randn(2, 3, height, width), torch.rand(2), torch.tensor([0, 4]))
        assert found.shape == (2, 3, height, width)
        assert not found.any()


def test_in_16_bits_a_cpu_multiplies_but_does_not_convolve() -> None:
    net, seen = IsoNext(TINY, 4), {}
    with torch.no_grad():
        for weight in net.parameters():
            weight.normal_(0, 0.1)
    for name, module in net.named_modules():
        if name in ("stem", "blocks.1.depthwise", "blocks.1.widen", "blocks.1.narrow", "out"):
            module.register_forward_hook(lambda _, __, y, name=name: seen.update({name: y.dtype}))
    given = (torch.randn(2, 3, 8, 8), torch.rand(2), torch.tensor([0, 4]))
    exact = net(*given)
    with torch.autocast("cpu", torch.bfloat16):
        found = net(*given)
    assert {n for n, dtype in seen.items() if dtype == torch.float32} == {
        "stem", "blocks.1.depthwise", "out"
    }  # fmt: skip
    assert {n for n, dtype in seen.items() if dtype == torch.bfloat16} == {
        "blocks.1.widen", "blocks.1.narrow"
    }  # fmt: skip
    assert 0 < ((found - exact).norm() / exact.norm()).item() < 0.02


def test_adagn_is_what_its_formula_says() -> None:
    norm = AdaGN(16, 8)
    x, cond = torch.randn(2, 16, 5, 5), torch.randn(2, 8)
    torch.testing.assert_close(norm(x, cond), F.group_norm(x, 16))  # nothing at first
    with torch.no_grad():
        norm.affine.weight.normal_()
        norm.affine.bias.normal_()
    scale, shift = (cond @ norm.affine.weight.T + norm.affine.bias).split(16, dim=1)
    grouped = x.reshape(2, 16, -1)
    plain = (grouped - grouped.mean(2, keepdim=True)) / grouped.var(
        2, unbiased=False, keepdim=True
    ).add(1e-5).sqrt()
    expected = (1 + scale)[:, :, None] * plain + shift[:, :, None]
    torch.testing.assert_close(norm(x, cond).reshape(2, 16, -1), expected)


def test_grn_is_what_its_paper_says() -> None:
    """Equations 1 to 3 of ConvNeXt V2, a channel at a time."""
    grn = GRN(3)
    with torch.no_grad():
        grn.gamma.normal_()
        grn.beta.normal_()
    x = torch.randn(2, 4, 5, 3)
    for n in range(2):
        norms = [x[n, :, :, c].square().sum().sqrt() for c in range(3)]
        for c in range(3):
            relative = norms[c] / (sum(norms) / 3)
            expected = grn.gamma[c] * x[n, :, :, c] * relative + grn.beta[c] + x[n, :, :, c]
            torch.testing.assert_close(grn(x)[n, :, :, c], expected)


def test_a_block_sees_its_kernel_and_the_norms_of_the_whole() -> None:
    """Depthwise: before the norm, a pixel reaches no further than half the kernel."""
    block = Block(TINY)
    x = torch.zeros(1, 16, 11, 11)
    x[0, 3, 5, 5] = 1.0
    reached = (block.depthwise(x) - block.depthwise(torch.zeros_like(x))).abs() > 1e-9
    rows, columns = reached[0, 3].nonzero(as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 7, 3, 7)
    others = [c for c in range(16) if c != 3]
    assert not reached[0, others].any()


def test_sizes_are_those_that_were_counted() -> None:
    """1.60 million weights a block at 384, about 19 million in the preset for 8 GB."""
    config = NetConfig(channels=4)
    count = sum(p.numel() for p in Block(config).parameters())
    assert count == pytest.approx(1.60e6, rel=0.01)
    whole = sum(p.numel() for p in IsoNext(config, 2).parameters())
    assert whole == pytest.approx(19.9e6, rel=0.05)


def test_recomputed_activations_give_the_same_gradients() -> None:
    grads = []
    for recomputes in (False, True):
        torch.manual_seed(0)
        net = IsoNext(TINY, 2)
        with torch.no_grad():
            net.out.weight.normal_()
        if recomputes:
            net.enable_gradient_checkpointing()
        x = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(1))
        net(x, torch.tensor([0.2, 0.7]), torch.tensor([0, 2])).square().mean().backward()
        grads.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    for first, second in zip(*grads, strict=True):
        torch.testing.assert_close(first, second)


def test_times_are_told_apart() -> None:
    features = time_features(torch.tensor([0.0, 0.001, 0.5, 1.0]))
    assert features.shape == (4, 256)
    assert torch.equal(features[0], torch.cat([torch.ones(128), torch.zeros(128)]))
    apart = torch.cdist(features, features) + torch.eye(4) * 9
    assert apart.min() > 0.5


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_memory_layout_changes_nothing(memory_format: torch.memory_format) -> None:
    torch.manual_seed(3)
    net = IsoNext(TINY, 2)
    with torch.no_grad():
        net.out.weight.normal_()
    x, t, labels = torch.randn(2, 3, 6, 6), torch.rand(2), torch.tensor([1, 0])
    expected = net(x, t, labels)
    net.to(memory_format=memory_format)  # type: ignore[call-overload]
    torch.testing.assert_close(net(x, t, labels), expected, rtol=1e-4, atol=1e-5)
