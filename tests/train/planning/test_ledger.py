"""Bytes of tensors without values, against what can be counted by hand."""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from train.planning.ledger import Ledger
from train.planning.stand_in import StandIn

WIDTH, ROWS, DEPTH = 256, 64, 6
ROW = 4 * ROWS * WIDTH
"""Bytes of one layer's output."""


def tower() -> nn.Sequential:
    layers = [layer for _ in range(DEPTH) for layer in (nn.Linear(WIDTH, WIDTH), nn.Sigmoid())]
    return nn.Sequential(*layers).to("meta")


def test_what_is_live_follows_references_and_views_cost_nothing() -> None:
    with Ledger() as ledger:
        a = torch.zeros(1024, device="meta")
        view = a[:10]
        b = a + 1
        assert ledger.live == 2 * 4096
        del a
        assert ledger.live == 2 * 4096  # the view holds it
        del view
        assert ledger.live == 4096
        del b
    assert (ledger.live, ledger.peak) == (0, 2 * 4096)


def test_activations_are_those_that_the_backward_pass_needs() -> None:
    """A linear layer keeps its input, a sigmoid its output: one and the same tensor, but for the
    first input and the values between the two, which go at once."""
    net = tower().requires_grad_(True)
    with Ledger() as ledger:
        for parameter in net.parameters():
            ledger.note(parameter)
        weights = ledger.live
        x = torch.zeros(ROWS, WIDTH, device="meta")
        out = net(x)
        assert ledger.live - weights == ROW * (1 + DEPTH)
        assert ledger.peak - weights == ROW * (2 + DEPTH)
        del out
        assert ledger.live - weights == ROW


def test_recomputing_keeps_one_tensor_a_block_and_gradients_come_with_it() -> None:
    def most(recomputes: bool) -> int:
        blocks = nn.ModuleList(
            nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.Sigmoid()) for _ in range(10)))
            for _ in range(5)
        ).to("meta")
        with Ledger() as ledger:
            x = torch.zeros(4096, 8, device="meta")
            for block in blocks:
                x = checkpoint(block, x, use_reentrant=False) if recomputes else block(x)
            torch.autograd.backward(x.sum())
            grads = sum(p.grad.nbytes for p in blocks.parameters())
            assert grads == sum(p.nbytes for p in blocks.parameters())
            return ledger.peak // (4096 * 8 * 4)

    assert most(False) in (51, 52, 53, 54)  # 5 · 10 outputs and the input, and what flows back
    assert most(True) in (15, 16, 17, 18, 19)  # 5 kept, the input, and one block's


def test_autocast_casts_as_torchs_own_does() -> None:
    """Against torch.autocast on the CPU, of operations that both lists have."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
    x = torch.randn(2, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        real = net(x)
    stand_in = StandIn(torch.bfloat16, is_cuda=True)
    with stand_in:
        planned = net.to("meta")
        with stand_in.autocast():
            found = planned(x.to("meta"))
            assert torch.softmax(found, 1).dtype == torch.float32  # on a GPU
        outside = planned[0](x.to("meta"))
    assert (found.dtype, found.shape) == (real.dtype, real.shape)
    assert outside.dtype == torch.float32


def test_attention_keeps_a_number_a_row_and_not_the_square() -> None:
    shape = (2, 4, 512, 16)
    size = 4 * 2 * 4 * 512 * 16
    with StandIn(None, False), Ledger() as ledger:
        query = torch.zeros(shape, device="meta", requires_grad=True)
        out = nn.functional.scaled_dot_product_attention(query, query, query)
        assert out.shape == shape
        assert ledger.peak == 2 * size + 4 * 2 * 4 * 512  # far below the 16 MB of all scores
