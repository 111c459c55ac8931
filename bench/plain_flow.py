"""Flow matching as one would write it down first, for `bench.flow` to compare with: a folder of
`.pt` files, torch's DataLoader as it comes, plain modules, float32, contiguous, eager."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Folder(Dataset[tuple[torch.Tensor, int]]):
    """Latents of `root/STYLE/NAME.pt`, with the numbers of their styles."""

    def __init__(self, root: Path):
        self.styles = sorted(folder.name for folder in root.iterdir())
        self.files = [
            (path, number)
            for number, style in enumerate(self.styles)
            for path in sorted((root / style).rglob("*.pt"))
        ]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, number = self.files[index]
        return torch.load(path, weights_only=True).float(), number


class AdaGN(nn.Module):
    """Group normalisation with scale and shift from the condition."""

    def __init__(self, width: int, cond: int):
        super().__init__()
        self.norm = nn.GroupNorm(32, width, affine=False)
        self.affine = nn.Linear(cond, 2 * width)

    def forward(self, x: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
        scale, shift = self.affine(cond)[:, :, None, None].chunk(2, dim=1)
        return self.norm(x) * (1 + scale) + shift


class Block(nn.Module):
    """Depthwise 7×7, normalisation, two 1×1 convolutions."""

    def __init__(self, width: int, expansion: int, cond: int):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = AdaGN(width, cond)
        self.widen = nn.Conv2d(width, width * expansion, 1)
        self.narrow = nn.Conv2d(width * expansion, width, 1)

    def forward(self, x: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.depthwise(x), cond)
        return x + self.narrow(F.gelu(self.widen(y)))


class Net(nn.Module):
    """An isotropic ConvNeXt, conditioned on time and style."""

    def __init__(
        self, channels: int, width: int, depth: int, expansion: int, cond: int, styles: int
    ):
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.time = nn.Sequential(nn.Linear(256, cond), nn.SiLU(), nn.Linear(cond, cond))
        self.style = nn.Embedding(styles + 1, cond)
        self.style_in = nn.Linear(cond, cond)
        self.blocks = nn.ModuleList(Block(width, expansion, cond) for _ in range(depth))
        self.norm = AdaGN(width, cond)
        self.out = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, x: torch.Tensor, t: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        frequencies = torch.exp(-torch.arange(128) * (9.210340371976184 / 128))
        angles = 1000 * t[:, None] * frequencies
        features = torch.cat([angles.cos(), angles.sin()], dim=1)
        cond = F.silu(self.time(features) + self.style_in(self.style(style)))
        x = self.stem(x)
        for block in self.blocks:
            x = block(x, cond)
        out: torch.Tensor = self.out(F.silu(self.norm(x, cond)))
        return out


class Trainer:
    """mean, std: [C,1,1], of the latents. Batches are drawn anew whenever the folder is through."""

    def __init__(
        self, net: Net, data: Folder, batch_size: int, mean: torch.Tensor, std: torch.Tensor
    ):
        self.net, self.mean, self.std = net, mean, std
        self.optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
        self._loader = DataLoader(data, batch_size, shuffle=True, drop_last=True)
        self._batches = iter(self._loader)

    def step(self) -> float:
        """One step of training; its loss."""
        try:
            latents, styles = next(self._batches)
        except StopIteration:
            self._batches = iter(self._loader)
            latents, styles = next(self._batches)
        x1 = (latents - self.mean) / self.std
        x0 = torch.randn_like(x1)
        t = torch.rand(len(x1))
        styles = torch.where(torch.rand(len(x1)) < 0.15, self.net.style.num_embeddings - 1, styles)
        x = (1 - t)[:, None, None, None] * x0 + t[:, None, None, None] * x1
        loss = F.mse_loss(self.net(x, t, styles), x1 - x0)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        return float(loss)
