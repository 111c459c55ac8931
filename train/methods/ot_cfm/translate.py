"""Translation between styles: along the flow to the noise and back again."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch

from toolkit.core.errors import UserError
from toolkit.core.progress import Progress
from train.methods.ot_cfm.config import Stylize
from train.parts.guidance import guided, guided_zero_star
from train.parts.noise import standard_channels
from train.parts.samplers import (
    SOLVERS,
    Velocity,
    evaluations,
    solve,
    steps_for,
    times_between,
)

BUDGETS = (2, 4, 6, 8, 12, 16, 20, 30, 40, 60, 80, 120, 160, 240, 320)
Net = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Translator:
    """Solves the flow of a network. net: (x [N,C,h,w], t [N], label [N]) to velocities; none: the
    label that stands for no style, None where the network was not taught one."""

    net: Net
    none: int | None

    def invert(self, x: torch.Tensor, source: torch.Tensor, how: Stylize) -> torch.Tensor:
        """From latents back to where `how.depth` leads, under their own labels [N], unguided."""
        times = times_between(1, 1 - how.depth, how.steps)
        return solve(self._velocity(source, replace(how, guidance=1)), x, times, how.solver)

    def generate(self, x: torch.Tensor, target: torch.Tensor, how: Stylize) -> torch.Tensor:
        """From there to latents under the labels [N], guided."""
        if how.noise_adain:
            x = x.lerp(standard_channels(x), how.noise_adain)
        times = times_between(1 - how.depth, 1, how.steps)
        return solve(self._velocity(target, how), x, times, how.solver)

    def round_trip(self, x: torch.Tensor, source: torch.Tensor, how: Stylize) -> torch.Tensor:
        """float32 [N]: |x − x′| / |x| of each sample that is inverted and generated again under its
        own label without guidance. Exact only in the limit of many steps."""
        back = self.generate(self.invert(x, source, how.plain), source, how.plain)
        return relative_error(back, x)

    def cheapest(
        self, x: torch.Tensor, source: torch.Tensor, how: Stylize
    ) -> tuple[Stylize, float]:
        """The solver and steps of fewest evaluations whose mean round trip stays within
        `how.tolerance`; the most exact of all where none does. And that error."""
        errors: dict[Stylize, float] = {}
        with Progress(len(BUDGETS), f"solvers within {how.tolerance:g}", "budgets") as progress:
            for budget in BUDGETS:
                tried = self.settings_within(how, [budget])
                for one in tried:
                    if one not in errors:
                        errors[one] = float(self.round_trip(x, source, one).mean())
                best = min(tried, key=errors.__getitem__)
                if errors[best] <= how.tolerance:
                    return best, errors[best]
                progress.advance(note=f"{errors[best]:.1e} at {budget} evaluations")
        best = min(errors, key=errors.__getitem__)
        return best, errors[best]

    def settings_within(self, how: Stylize, budgets: Iterable[int]) -> list[Stylize]:
        """`how` with each solver, at the most steps that each budget of evaluations allows; without
        solvers whose first step asks for more."""
        found = [
            replace(how, solver=solver, steps=steps_for(solver, budget))
            for budget in budgets
            for solver in SOLVERS
            if evaluations(solver, steps_for(solver, budget)) <= budget
        ]
        return list(dict.fromkeys(found))

    def _velocity(self, labels: torch.Tensor, how: Stylize) -> Velocity:
        unlabelled = labels if how.guidance == 1 else self._unlabelled(labels)
        low, high = how.guidance_interval
        rule = guided_zero_star if how.guidance_rule == "zero_star" else guided

        def velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            if how.clamp:
                x = x.clamp(-how.clamp, how.clamp)
            if how.guidance == 1 or not low <= float(t[0]) <= high:
                return self.net(x, t, labels)
            both = self.net(
                torch.cat([x, x]), torch.cat([t, t]),
                torch.cat([labels, unlabelled]),
            )  # fmt: skip
            conditional, unconditional = both.chunk(2)
            return rule(conditional, unconditional, how.guidance)

        return velocity

    def _unlabelled(self, labels: torch.Tensor) -> torch.Tensor:
        if self.none is None:
            raise UserError(
                "the run was trained with --label_drop=0, so it has no velocity without a style to "
                "guide away from: --guidance=1"
            )
        return torch.full_like(labels, self.none)


def relative_error(found: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """float32 [N]: |x − x′| / |x| of each sample."""
    return (found - x).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)
