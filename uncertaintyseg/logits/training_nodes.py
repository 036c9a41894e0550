"""How many nodes the likelihood of a voxel takes while a network is trained: few where its logits are sure.

What a fixed number of nodes is off by grows with the spread s of the logit differences: the largest standard deviation
of eta_c - eta_0. Each voxel gets the first number of `STEPS` whose s it does not exceed, so that the root of the mean
squared error stays below `BOUND` for both likelihoods. Error in nats, E[-ln p] / -ln E[p], against quadrature on a
721 x 721 grid; 3 classes, 60 voxels with means ~ N(0, 9) and random covariances, classes of E[p] >= 0.05
(Testing/Python/uncertaintyseg/logits/test_training_nodes.py measures it anew):

| s    | 16 nodes      | 32            | 64            | 128           | 512           |
|------|---------------|---------------|---------------|---------------|---------------|
| 0.5  | 0.0005 / .001 | 0.0008 / .002 | 0.0003 / .001 | 0.0001 / .000 | 0.0000 / .000 |
| 1    | 0.0022 / .008 | 0.0025 / .010 | 0.0011 / .004 | 0.0006 / .002 | 0.0001 / .000 |
| 1.5  | 0.0076 / .020 | 0.0088 / .016 | 0.0038 / .009 | 0.0013 / .003 | 0.0003 / .001 |
| 2    | 0.0149 / .038 | 0.0143 / .023 | 0.0070 / .016 | 0.0025 / .005 | 0.0005 / .001 |
| 3    | 0.0335 / .058 | 0.0269 / .032 | 0.0127 / .025 | 0.0043 / .008 | 0.0011 / .002 |
| 6    | 0.0958 / .090 | 0.0534 / .055 | 0.0312 / .030 | 0.0097 / .010 | 0.0025 / .002 |
| 8    | 0.1396 / .106 | 0.0681 / .053 | 0.0334 / .028 | 0.0118 / .011 | 0.0029 / .004 |
| 12   | 0.2194 / .132 | 0.1050 / .070 | 0.0526 / .028 | 0.0217 / .015 | 0.0052 / .004 |
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

STEPS = ((1.5, 16), (8.0, 128), (math.inf, 512))
"""Largest spread of a voxel's logit differences, and its nodes."""
BOUND = 0.025
"""Nats: root of the mean squared error of a voxel's likelihood at most, up to a spread of 12."""
_BLOCK = 2**22
"""Voxels x classes x nodes held at once where there are many nodes; they are computed again for the gradient."""

Likelihood = Callable[[Tensor, Tensor, int], Tensor]
"""Of `delta` `[D, n]`, `cholesky` `[D, D, n]` and a number of nodes: `[*, n]`."""


def at_enough_nodes(likelihood: Likelihood, delta: Tensor, cholesky: Tensor) -> Tensor:
    """A likelihood of each voxel at as many nodes as its spread asks for; differentiable.

    Where no voxel is spread out this is `likelihood` at the fewest nodes; memory beyond that of the fewest is bounded.

    Args:
        likelihood: e.g. `quadrature.expected_logsumexp`.
        delta: means of the logit differences, `[D, n]`.
        cholesky: factor of their covariance, `[D, D, n]`.
    """
    spread = cholesky.detach().square().sum(1).amax(0).sqrt()
    fewest = STEPS[0][1]
    limits = torch.tensor([limit for limit, _ in STEPS[:-1]], dtype=spread.dtype, device=spread.device)
    step = torch.bucketize(spread, limits)
    if not step.any():
        return likelihood(delta, cholesky, fewest)
    found, places = [], []
    for number, (_, nodes) in enumerate(STEPS):
        here = (step == number).nonzero()[:, 0]
        size = max(1, _BLOCK // (nodes * (len(delta) + 1))) if nodes > fewest else max(1, len(here))
        for voxels in here.split(size) if len(here) else ():
            part = delta[:, voxels], cholesky[..., voxels], nodes
            again = nodes > fewest and torch.is_grad_enabled()
            found.append(
                checkpoint(likelihood, *part, use_reentrant=False, preserve_rng_state=False)
                if again
                else likelihood(*part)
            )
            places.append(voxels)
    return torch.cat(found, -1)[..., torch.cat(places).argsort()]
