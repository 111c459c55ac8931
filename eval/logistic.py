"""Multinomial logistic regression with a quadratic penalty, solved to its only optimum."""

import torch


def logistic_regression(
    features: torch.Tensor, classes: torch.Tensor, decay: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights [F,K] and bias [K] of a linear classifier, in the precision of the features.

    Args:
        features: [N,F], standardised.
        classes: int64 [N], each of 0 … K − 1 at least once; each counts as much, however often it
            stands there.
        decay: weight of the squared coefficients, beside the mean loss.
    """
    count = int(classes.max()) + 1
    weight, bias = (
        torch.zeros(*shape, dtype=features.dtype, requires_grad=True)
        for shape in ((features.shape[1], count), (count,))
    )
    often = torch.bincount(classes, minlength=count).to(features.dtype)
    loss = torch.nn.CrossEntropyLoss(weight=often.sum() / often / count)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value: torch.Tensor = (
            loss(features @ weight + bias, classes) + decay * weight.square().sum()
        )
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(closure)  # type: ignore[arg-type]
    return weight.detach(), bias.detach()
