"""What a click says about a whole segmentation: expectation propagation on the shared latents (METHODS 14).

Logits are eta_n = mu_n + P_n z + e_n with one z ~ N(0, I) a volume. "Voxel i is of class c" is one site for each rival
class j: the likelihood (1 - e) [D > 0] + e [D < 0] on D = eta_ic - eta_ij. A step and not a pseudo-observation, so a
click that confirms what is known moves nothing; e > 0, so a click that everything speaks against is doubted, and
contradictions stay finite. All is float64 and small: R latents, and as many numbers a clicked voxel as it has rivals.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor

from uncertaintyseg.errors import InputError
from uncertaintyseg.logits import GaussianLogits, LowRank
from uncertaintyseg.logits.conditioned import Conditioned, Nearness

ERROR = 0.01
"""e: how often a click is taken to be a slip."""
REACH_MM = 8.0
"""How far a click is heard: a standard deviation (docs/adr/0009)."""
SWEEPS, UNDAMPED, DAMPING = 60, 10, 0.5
"""At most so many readings of all clicks; after the first ones each moves only part of the way."""
CONVERGED = 1e-7
_EPSILON, _RANK = 1e-12, 1e-9
Voxel = TypeVar("Voxel", bound=Hashable)
"""A flat index, or IJK."""


class ClickedVoxel(NamedTuple):
    """A voxel as the clicks on it see it; k differences D = offset + loading z + own noise, each said to be positive.

    Attributes:
        offset: mean of D given z = 0, `[k]`.
        loading: `[k, R]`.
        noise: covariance of the voxel's own noise in D, `[k, k]`.
    """

    offset: np.ndarray
    loading: np.ndarray
    noise: np.ndarray


@dataclass
class _Site:
    """Gaussian stand-in for the likelihood of one voxel's clicks: exp(-D tau D / 2 + nu D), k of each."""

    tau: np.ndarray
    nu: np.ndarray

    def message(self, voxel: ClickedVoxel) -> tuple[np.ndarray, np.ndarray]:
        """Precision `[k, k]` and linear term `[k]` that it has in loading z, the own noise integrated out."""
        system = np.eye(len(self.tau)) + self.tau[:, None] * voxel.noise
        precision = np.linalg.solve(system, np.diag(self.tau))
        precision = (precision + precision.T) / 2
        return precision, np.linalg.solve(system, self.nu) - precision @ voxel.offset


@dataclass(frozen=True)
class Latents:
    """The shared latents after clicks, z ~ N(mean, root root^T).

    Attributes:
        mean: m, `[R]`.
        root: L, `[R, R]`.
        messages: of each clicked voxel, precision `[k, k]` and linear term `[k]` in its loading z.
        sweeps: readings of all clicks until nothing changed.
    """

    mean: np.ndarray
    root: np.ndarray
    messages: list[tuple[np.ndarray, np.ndarray]]
    sweeps: int


def propagate(voxels: Sequence[ClickedVoxel], rank: int, *, error: float = ERROR, sweeps: int = SWEEPS) -> Latents:
    """Posterior of the R latents given the clicks: ADF in the first sweep, EP until nothing changes.

    Exact in mean and covariance for one site. Sites whose likelihood bends the wrong way keep a negative precision only
    while the posterior stays proper.

    Args:
        voxels: one entry a voxel, however often it was clicked.
        rank: R.
        error: e.
        sweeps: at most.

    Raises:
        InputError: for an e outside 0 to 0.5 (exclusive), or numbers that are not finite.
    """
    if not 0 < error < 0.5:
        raise InputError(f"'error' is {error:g}: the share of clicks that are slips lies between 0 and 0.5.")
    if not all(np.isfinite(part).all() for voxel in voxels for part in voxel):
        raise InputError("the logits at a clicked voxel are not finite: check the model's weights.")
    mean, covariance = np.zeros(rank), np.eye(rank)
    sites = [_Site(np.zeros(len(v.offset)), np.zeros(len(v.offset))) for v in voxels]
    root, done = covariance, 0
    for done in range(1, sweeps + 1):
        before = mean.copy(), root
        for voxel, site in zip(voxels, sites, strict=True):
            mean, covariance = _visit(voxel, site, mean, covariance, error, 1.0 if done <= UNDAMPED else DAMPING)
        mean, root = _posterior(voxels, sites, rank)
        covariance = root @ root.T
        if max(np.abs(mean - before[0]).max(initial=0), np.abs(root - before[1]).max(initial=0)) < CONVERGED:
            break
    return Latents(mean, root, [site.message(voxel) for voxel, site in zip(voxels, sites, strict=True)], done)


def _visit(
    voxel: ClickedVoxel, site: _Site, mean: np.ndarray, covariance: np.ndarray, error: float, step: float
) -> tuple[np.ndarray, np.ndarray]:
    """Renew one voxel's site given all others, and the latents with it."""
    precision, linear = site.message(voxel)
    spread = voxel.loading @ covariance
    inner, at = spread @ voxel.loading.T, voxel.loading @ mean
    without = np.eye(len(at)) - inner @ precision
    cavity = np.linalg.solve(without, inner)
    cavity = (cavity + cavity.T) / 2
    if np.linalg.eigvalsh(cavity).min(initial=0) < -_EPSILON * (1 + np.abs(cavity).max()):
        return mean, covariance  # the others alone are not proper: leave this one for now
    cavity_mean = np.linalg.solve(without, at - inner @ linear)
    tau, nu = _matched(site, voxel.offset + cavity_mean, cavity + voxel.noise, error)
    site.tau, site.nu = site.tau + step * (tau - site.tau), site.nu + step * (nu - site.nu)
    new_precision, new_linear = site.message(voxel)
    change = new_precision - precision
    system = np.eye(len(at)) + change @ inner
    gain = spread.T @ np.linalg.solve(system, new_linear - linear - change @ at)
    reduced = covariance - spread.T @ np.linalg.solve(system, change) @ spread
    return mean + gain, (reduced + reduced.T) / 2


def _matched(site: _Site, mean: np.ndarray, covariance: np.ndarray, error: float) -> tuple[np.ndarray, np.ndarray]:
    """Natural parameters whose Gaussian matches the moments of N(mean, covariance) times the k step likelihoods."""
    tau, nu = site.tau.copy(), site.nu.copy()
    for s in range(len(tau)):
        system = np.eye(len(tau)) + covariance * tau
        solved = np.linalg.solve(system, np.column_stack([covariance[:, s], mean + covariance @ nu]))[s]
        variance, share = solved[0], 1 - solved[0] * tau[s]
        if variance < _EPSILON or share < _EPSILON:
            continue  # nothing can move here
        at = (solved[1] - variance * nu[s]) / share
        alpha, kappa = tilted(at, variance / share, error)
        shrink = 1 - kappa * variance / share
        tau[s], nu[s] = kappa / shrink, (alpha + kappa * at) / shrink
    return tau, nu


def tilted(mean: float, variance: float, error: float) -> tuple[float, float]:
    """First derivative alpha and minus the second, kappa, of ln E[(1 - e) [D > 0] + e [D < 0]] in the mean of D."""
    std = np.sqrt(variance)
    u = mean / std
    density = (1 - 2 * error) * np.exp(-u * u / 2) / np.sqrt(2 * np.pi)
    alpha = density / ((error + (1 - 2 * error) * ndtr(u)) * std)
    return alpha, alpha * (alpha + mean / variance)


def _posterior(voxels: Sequence[ClickedVoxel], sites: Sequence[_Site], rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and root of the latents from all sites at once: no rounding adds up, and the covariance is one."""
    for keep in (1.0, 0.0):
        precision, linear = np.eye(rank), np.zeros(rank)
        for voxel, site in zip(voxels, sites, strict=True):
            site.tau = np.maximum(site.tau, keep * site.tau)  # the second time without negative ones
            own, term = site.message(voxel)
            precision += voxel.loading.T @ own @ voxel.loading
            linear += voxel.loading.T @ term
        try:
            lower = np.linalg.cholesky(precision)
        except np.linalg.LinAlgError:
            continue
        root = np.linalg.inv(lower).T
        return root @ (root.T @ linear), root
    raise AssertionError("a precision of 1 plus squares is positive")


class _Shared(NamedTuple):
    """What n clicked voxels share, as latents u ~ N(0, I_r) in which all their differences D are linear.

    Attributes:
        seen: g of each of the K differences, `[K, R]`: what of the head's latents it sees.
        inverse: pseudo-inverse of their covariance T, `[K, K]`.
        loading: of D in u, `[K, r]`; T = loading loading^T.
        logits: of each voxel's logits in u, `[n, C, r]`.
        rest: covariance of the logits that the differences say nothing of, `[n, C, C]`.
    """

    seen: np.ndarray
    inverse: np.ndarray
    loading: np.ndarray
    logits: np.ndarray
    rest: np.ndarray


@dataclass(frozen=True)
class Clicked:
    """Logits after clicks.

    Attributes:
        logits: of all voxels; the prior itself where voxels share nothing.
        voxels: flat indices of the clicked ones, `[n]`, in order.
        own: logits of these alone `[1, C, n]`, their own noise moved too.
    """

    logits: GaussianLogits
    voxels: Tensor
    own: GaussianLogits


def condition(
    prior: GaussianLogits,
    voxels: Tensor,
    classes: Tensor,
    spacing: Sequence[float],
    *,
    reach_mm: float = REACH_MM,
    error: float = ERROR,
) -> Clicked:
    """Logits given "voxel i is of class c" for every click, whatever their order.

    Args:
        prior: of one volume, `[1, C, X, Y, Z]`; one channel for two classes.
        voxels: flat index of each click, `[k]`; one that is said to be two classes is refused.
        classes: class index of each click, `[k]`.
        spacing: of the voxels, mm.
        reach_mm: how far a click is heard (`logits.conditioned`); infinite for one z a volume.
        error: e.

    Raises:
        InputError: as of `propagate`, for a reach that is not positive, a contradiction, or logits of several volumes.
    """
    if len(prior.mean) != 1:
        raise InputError(f"the logits {tuple(prior.mean.shape)} are of {len(prior.mean)} volumes: clicks are on one.")
    if not reach_mm > 0:
        raise InputError(f"'reach_mm' is {reach_mm:g}: a click must be heard some way.")
    clicks = said_once(zip(voxels.tolist(), classes.tolist(), strict=True))
    where = torch.tensor(sorted(clicks), dtype=torch.long, device=prior.mean.device)
    mean, rows, noise = _prior_at(prior, where)
    directions = [_directions(clicks[voxel], prior.mean.shape[1]) for voxel in where.tolist()]
    places = torch.stack(torch.unravel_index(where, prior.mean.shape[2:]), dim=1)
    near = Nearness(places, prior.mean.shape[2:], spacing, reach_mm)
    shared = _shared(rows, directions, near.at(where).cpu().numpy())
    ends = np.cumsum([len(v) for v in directions])[:-1]
    loadings = np.split(shared.loading, ends)
    seen = [
        ClickedVoxel(v @ m, loading, v @ n @ v.T)
        for v, m, n, loading in zip(directions, mean, noise, loadings, strict=True)
    ]
    latents = propagate(seen, shared.loading.shape[1], error=error)
    own = [
        _moved(v, mean[i], shared.logits[i], shared.rest[i], noise[i], seen[i].loading, latents, i)
        for i, v in enumerate(directions)
    ]
    site_of = [i for i, v in enumerate(directions) for _ in v]
    near = Nearness(places[site_of], prior.mean.shape[2:], spacing, reach_mm, prior.mean.dtype)
    return Clicked(_given(prior, shared, near, latents), where, _together(own, prior.mean))


def _prior_at(prior: GaussianLogits, where: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean `[n, C]`, rows P `[n, C, R]` and covariance of the own noise `[n, C, C]` of voxels."""
    mean, covariance = prior.mean.flatten(2)[0, :, where].T, prior.covariance
    classes, rank = mean.shape[1], 0 if covariance is None else covariance.rank
    rows, noise = mean.new_zeros(len(where), classes, rank), mean.new_zeros(len(where), classes, classes)
    if rank:
        rows = covariance.mixed(torch.eye(rank).to(mean), where)[0].permute(2, 0, 1)
    own = None if covariance is None else covariance.own()
    if own is not None:
        noise = own.marginal(where).dense()[0]
    return tuple(part.detach().cpu().double().numpy() for part in (mean, rows, noise))


def said_once(clicks: Iterable[tuple[Voxel, int]]) -> dict[Voxel, int]:
    """Class of each clicked voxel.

    Two classes on one voxel would move its neighbours by what nobody meant.

    Raises:
        InputError: when a voxel is said to be two classes; the message names it and both.
    """
    said: dict[Voxel, int] = {}
    for voxel, label in clicks:
        if said.setdefault(voxel, label) != label:
            name = list(voxel) if isinstance(voxel, tuple) else voxel
            both = " and ".join(str(c) for c in sorted((said[voxel], label)))
            raise InputError(f"voxel {name} is clicked as class {both}: it can be one of them; take a click back.")
    return said


def _directions(clicked: int, channels: int) -> np.ndarray:
    """Rows that turn logits into the differences said to be positive, `[k, C]`: clicked class minus each rival."""
    if channels == 1:
        return np.array([[1.0 if clicked == 1 else -1.0]])
    identity = np.eye(channels)
    return np.stack([identity[clicked] - identity[j] for j in range(channels) if j != clicked])


def _shared(rows: np.ndarray, directions: Sequence[np.ndarray], near: np.ndarray) -> _Shared:
    """From the rows P `[n, C, R]` of the clicked voxels, their differences' directions and nearness `[n, n]`."""
    seen = np.concatenate([v @ p for v, p in zip(directions, rows, strict=True)])
    voxel = np.repeat(np.arange(len(rows)), [len(v) for v in directions])
    values, vectors = np.linalg.eigh(seen @ seen.T * near[np.ix_(voxel, voxel)])
    kept = values > _RANK * values.max(initial=1e-300)
    scale, basis = np.sqrt(values[kept]), vectors[:, kept]
    covariance = np.einsum("ncr,kr->nck", rows, seen) * near[:, voxel][:, None]
    logits = covariance @ (basis / scale)
    rest = np.einsum("ncr,ndr->ncd", rows, rows) - np.einsum("ncu,ndu->ncd", logits, logits)
    return _Shared(seen, (basis / scale**2) @ basis.T, basis * scale, logits, rest)


def _moved(
    v: np.ndarray,
    mean: np.ndarray,
    rows: np.ndarray,
    rest: np.ndarray,
    noise: np.ndarray,
    loading: np.ndarray,
    latents: Latents,
    index: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean `[C]` and covariance `[C, C]` of a clicked voxel's logits: the latents' part, and its own noise's."""
    precision, linear = latents.messages[index]
    gain = noise @ v.T
    through = rows - gain @ precision @ loading
    spread = through @ latents.root
    covariance = spread @ spread.T + rest + noise - gain @ precision @ gain.T
    return mean + gain @ linear + through @ latents.mean, (covariance + covariance.T) / 2


def _given(prior: GaussianLogits, shared: _Shared, near: Nearness, latents: Latents) -> GaussianLogits:
    if not len(latents.mean):
        return prior
    like = prior.mean
    spread = shared.loading @ latents.root
    weights = torch.from_numpy(shared.inverse @ (shared.loading @ latents.mean)).to(like)
    seen = torch.from_numpy(shared.seen).to(like)
    inverse, spread = (torch.from_numpy(part).to(like.device) for part in (shared.inverse, spread))
    covariance = Conditioned(prior.covariance, seen, near, inverse, spread)
    return GaussianLogits(like + covariance.shift(weights).reshape(like.shape), covariance)


def _together(moved: Sequence[tuple[np.ndarray, np.ndarray]], like: Tensor) -> GaussianLogits:
    """Logits `[1, C, n]` of voxels from their means and covariances."""
    values, vectors = np.linalg.eigh(np.stack([covariance for _, covariance in moved]))
    factor = np.moveaxis(vectors * np.sqrt(values.clip(0))[:, None], 0, -1)
    mean = np.stack([mean for mean, _ in moved], -1)
    mean, factor = (torch.from_numpy(np.ascontiguousarray(part)).to(like)[None] for part in (mean, factor))
    return GaussianLogits(mean, LowRank(factor))
