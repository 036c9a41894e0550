"""Temperature scaling: one number by validation NLL, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.heads import make_head
from uncertaintyseg.heads.temperature import HIGHEST, LOWEST, Temperature

FEATURES = 4


def confident(
    classes: int, factor: float, seed: int = 0
) -> tuple[Temperature, list[tuple[torch.Tensor, torch.Tensor]]]:
    """A head whose logits are `factor` times too large, and two volumes that say so."""
    torch.manual_seed(seed)
    head = make_head("temperature", features=FEATURES, classes=classes)
    torch.nn.init.normal_(head.mean.weight)
    stream = []
    for shape in ((9, 8, 7), (6, 8, 10)):
        features = torch.randn(1, FEATURES, *shape)
        with torch.no_grad():
            truth = torch.distributions.Categorical(logits=head.mean(features).movedim(1, -1) / factor).sample()
        stream.append((features, truth))
    return head, stream


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_is_the_best_by_validation_nll(classes, factor):
    head, stream = confident(classes, factor)
    report = head.fit([], stream)
    with torch.no_grad():
        pairs = [(head.mean(f)[0].flatten(1).T.numpy(), t.flatten().numpy()) for f, t in stream]
    logits, target = (np.concatenate(part) for part in zip(*pairs, strict=True))

    def nll(temperature: float) -> float:
        return -log_softmax(logits.astype(float) / temperature, axis=1)[np.arange(len(target)), target].mean()

    best = minimize_scalar(nll, bounds=(LOWEST, HIGHEST), method="bounded", options={"xatol": 1e-6})
    assert report["temperature"] == pytest.approx(best.x, rel=0.01)
    assert report["validation_nll"] == pytest.approx(best.fun, abs=1e-5)
    assert report["plain_validation_nll"] == pytest.approx(nll(1.0), abs=1e-5)
    assert head.temperature.item() == pytest.approx(report["temperature"], rel=1e-6)


def test_a_fitted_temperature_changes_confidence_and_no_label():
    head, stream = confident(3, 3.0)
    before = head(stream[0][0]).distribution
    head.fit([], stream)
    after = head(stream[0][0]).distribution
    assert torch.equal(before.mean.argmax(1), after.mean.argmax(1))
    assert (after.moments().probability.amax(1) < before.moments().probability.amax(1)).all()
    assert after.covariance is None


def test_without_voxels_or_with_broken_features_there_is_no_temperature():
    head, stream = confident(2, 1.0)
    with pytest.raises(InputError, match="validation set is empty"):
        head.fit(stream, [])
    stream[0][0][0, 0, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="NaN or infinity"):
        head.fit([], stream)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_none_is_refused_when_loaded(value):
    state = make_head("temperature", features=2, classes=2).state_dict() | {"temperature": torch.tensor(value)}
    with pytest.raises(BundleError, match="not a positive number"):
        make_head("temperature", features=2, classes=2).load_state_dict(state)
