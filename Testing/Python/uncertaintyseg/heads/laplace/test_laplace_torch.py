"""The library of record: laplace-torch on flattened voxels (golden test 9)."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from uncertaintyseg.heads import make_head
from uncertaintyseg.heads.laplace.curvature import contrasts, make_curvature

FEATURES, VOXELS = 6, 400
PRECISION, TEMPERING = 0.7, 0.3
TEMPERATURE = 1 / TEMPERING


@pytest.fixture
def laplace(monkeypatch):
    """laplace-torch. It imports torchmetrics for scores that nothing here asks for, which imports torchvision, which
    must match torch to the build; an empty stand-in spares all that."""
    metrics = ModuleType("torchmetrics")
    metrics.Metric = metrics.MeanSquaredError = type("Metric", (), {})
    if "laplace" not in sys.modules:
        monkeypatch.setitem(sys.modules, "torchmetrics", metrics)
    import laplace

    return laplace


def problem(classes: int) -> tuple[torch.nn.Linear, torch.Tensor, torch.Tensor]:
    """An output layer on phi~ = (phi, 1), phi~ of some voxels, and their classes."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(FEATURES + 1, classes, bias=False).double()
    rows = torch.cat([torch.randn(VOXELS, FEATURES), torch.ones(VOXELS, 1)], 1).double()
    return layer, rows, torch.randint(classes, (VOXELS,))


def theirs(laplace, structure: str, classes: int):
    layer, rows, target = problem(classes)
    name = {"full": "full", "diagonal": "diag", "kronecker": "kron"}[structure]
    model = laplace.Laplace(layer, "classification", "all", name, prior_precision=PRECISION, temperature=TEMPERATURE)
    model.fit(DataLoader(TensorDataset(rows, target), batch_size=VOXELS))
    return model


def ours(structure: str, classes: int):
    layer, rows, _ = problem(classes)
    curvature = make_curvature(structure, FEATURES, classes)
    curvature.add(rows[:, :-1].T, layer(rows).softmax(1).T.detach())
    return curvature


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("structure", ["full", "kronecker", "diagonal"])
def test_the_curvature_and_the_predictive_variance_are_those_of_laplace_torch(laplace, structure, classes):
    model, curvature = theirs(laplace, structure, classes), ours(structure, classes)
    q = contrasts(classes)
    if structure == "full":
        found = model.H.unflatten(0, (classes, -1)).unflatten(2, (classes, -1))
        wanted = torch.einsum("ci,cfdg,dj->ifjg", q, found.double(), q)
        assert torch.allclose(curvature.hessian, wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max())
    if structure == "diagonal":
        assert torch.allclose(curvature.diagonal, model.H.double().reshape(classes, -1), rtol=1e-4)

    posterior = make_head("laplace", features=FEATURES, classes=classes, structure=structure).posterior.double()
    posterior.set(curvature.solve(TEMPERING, PRECISION))
    new = torch.randn(50, FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    dense = posterior.noise(new.T[None, ..., None, None]).marginal().dense()[0]
    _, wanted = model._glm_predictive_distribution(torch.cat([new, torch.ones(50, 1)], 1))
    found, wanted = (torch.einsum("ci,ncd,dj->nij", q, part.double(), q) for part in (dense, wanted.detach()))
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max())


@pytest.mark.parametrize("classes", [2, 3])
def test_the_evidence_is_that_of_laplace_torch(laplace, classes):
    layer, rows, target = problem(classes)
    model = theirs(laplace, "full", classes)
    log_likelihood = -torch.nn.functional.cross_entropy(layer(rows), target, reduction="sum")
    norm = layer.weight.square().sum()
    found = TEMPERING * log_likelihood - (PRECISION * norm + ours("full", classes).log_occam(TEMPERING, PRECISION)) / 2
    assert float(model.log_marginal_likelihood()) == pytest.approx(float(found), rel=1e-4)
