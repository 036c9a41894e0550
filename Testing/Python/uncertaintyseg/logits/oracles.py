"""Slow, plain numpy answers to compare the library with; written from the definitions, not from its code."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, softmax, xlogy
from scipy.stats import norm, qmc


def sigmoid_moments(mean: np.ndarray, std: np.ndarray, points: int = 40001) -> dict[str, np.ndarray]:
    """E[sigma], E[sigma^2], E[H(sigma)] and E[softplus] of N(mean, std^2) by the trapezoidal rule, `[n]`."""
    z = np.linspace(-12, 12, points)
    weight = norm.pdf(z) * (z[1] - z[0])
    found = {"p": [], "second": [], "entropy": [], "softplus": []}
    for m, s in zip(np.ravel(mean), np.ravel(std), strict=True):
        x = m + s * z
        p, q = expit(x), expit(-x)
        found["p"].append(weight @ p)
        found["second"].append(weight @ p**2)
        found["entropy"].append(-weight @ (xlogy(p, p) + xlogy(q, q)))
        found["softplus"].append(weight @ np.logaddexp(0, x))
    return {name: np.array(values) for name, values in found.items()}


def softmax_moments(mean: np.ndarray, sigma: np.ndarray, log2_nodes: int = 13) -> dict[str, np.ndarray]:
    """E[p], E[p^2] `[n, C]` and E[H] `[n]` of softmax(N(mean `[n, C]`, sigma `[n, C, C]`)) at many nodes."""
    classes = mean.shape[1]
    nodes = norm.ppf(qmc.Sobol(classes, seed=11).random_base2(log2_nodes))
    found = {"p": [], "second": [], "entropy": []}
    for m, s in zip(mean, sigma, strict=True):
        values, vectors = np.linalg.eigh(s)
        p = softmax(m + nodes @ (vectors * np.sqrt(values.clip(0))).T, axis=1)
        found["p"].append(p.mean(0))
        found["second"].append((p**2).mean(0))
        found["entropy"].append(-xlogy(p, p).sum(1).mean())
    return {name: np.array(values) for name, values in found.items()}


def cube_of(voxel: tuple[int, ...], shape: tuple[int, ...], cubes: tuple[int, ...]) -> tuple[int, ...]:
    """The cube a voxel lies in: floor(i P / L) on each axis (METHODS 3.8)."""
    return tuple(i * p // n for i, p, n in zip(voxel, cubes, shape, strict=True))


def low_rank_joint(factor: np.ndarray) -> np.ndarray:
    """Covariance of all logits of a volume, `[C N, C N]` class-major, from `factor` `[C, R, *S]`."""
    rows = factor.reshape(*factor.shape[:2], -1).transpose(0, 2, 1).reshape(-1, factor.shape[1])
    return rows @ rows.T


def basis_joint(amplitude: np.ndarray, basis: np.ndarray, noise: str) -> np.ndarray:
    """The same for amplitudes `[R, *S]` on bases `[C, R, *cubes]`: who shares z is what `noise` says."""
    rank, shape, cubes = amplitude.shape[0], amplitude.shape[1:], basis.shape[2:]
    voxels = list(np.ndindex(*shape))
    site = {"voxel": lambda v: v, "cube": lambda v: cube_of(v, shape, cubes), "volume": lambda v: ()}[noise]
    sites = {key: n for n, key in enumerate(dict.fromkeys(map(site, voxels)))}
    rows = np.zeros((basis.shape[0], len(voxels), len(sites), rank))
    for n, voxel in enumerate(voxels):
        local = basis[(slice(None), slice(None), *cube_of(voxel, shape, cubes))]
        rows[:, n, sites[site(voxel)]] = local * amplitude[(slice(None), *voxel)]
    rows = rows.reshape(basis.shape[0] * len(voxels), -1)
    return rows @ rows.T


def marginals(joint: np.ndarray, classes: int) -> np.ndarray:
    """Sigma_n `[N, C, C]` from a class-major joint covariance."""
    voxels = joint.shape[0] // classes
    return np.einsum("cndn->ncd", joint.reshape(classes, voxels, classes, voxels))
