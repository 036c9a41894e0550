"""L-FUSION's two paths, and the choice of the measure that weighs their maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu

from uncertaintyseg.errors import BundleError
from uncertaintyseg.heads import make_head
from uncertaintyseg.heads.l_fusion.head import DROPOUT_MEASURES, FORMULAS, LAPLACE_MEASURES, MEASURES, LFusionHead
from uncertaintyseg.heads.laplace import LaplaceHead
from uncertaintyseg.training.objectives import HeadLoss

SHAPE = (6, 5, 4)


def build(**options: object) -> LFusionHead:
    torch.manual_seed(0)
    head = make_head("l_fusion", features=5, classes=3, **{"passes": 4, "rank": 3} | options).eval()
    for parameter in head.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape)
    return head


def features(seed: int = 1) -> torch.Tensor:
    return torch.randn(1, 5, *SHAPE, generator=torch.Generator().manual_seed(seed))


def stream(head: LFusionHead) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Labels that the head gets right but for a few voxels."""
    found = []
    for seed in range(3):
        label = head(features(seed)).distribution.mean.argmax(1)
        label[..., 0] = torch.randint(3, label[..., 0].shape, generator=torch.Generator().manual_seed(seed))
        found.append((features(seed), label))
    return found


def test_label_and_usual_maps_are_those_of_a_laplace_head_on_ssn():
    head = build()
    alone = LaplaceHead(5, 3, base="low_rank", base_options={"rank": 3}).eval()
    alone.load_state_dict(head.laplace.state_dict())
    with torch.no_grad():
        found, wanted = head(features()), alone(features())
        assert torch.equal(found.distribution.moments().stacked(), wanted.distribution.moments().stacked())
        assert torch.allclose(found.maps["expected_pairwise_kl"], wanted.maps["expected_pairwise_kl"])


def test_the_dropout_path_has_the_maps_of_a_dropout_head():
    head = build()
    with torch.no_grad():
        found, alone = head(features()), head.dropout(features()).distribution.moments()
        assert torch.allclose(found.maps["dropout_expected_entropy"], alone.expected_entropy)
        assert torch.allclose(found.maps["dropout_variance"], alone.variance.sum(1, keepdim=True) / 2)


def test_nothing_runs_through_the_blocks_before_a_map_is_asked_for():
    head, ran = build(), []
    head.dropout.blocks[0].register_forward_hook(lambda *_: ran.append(1))
    with torch.no_grad():
        output = head(features())
        output.distribution.moments()
        assert not ran
        dict(output.maps)
        assert len(ran) == 1, "once for all maps and passes"


def test_both_paths_learn_by_the_objective_and_neither_reaches_the_other():
    head = build().train()
    label = torch.randint(3, (1, 1, *SHAPE), generator=torch.Generator().manual_seed(0))
    loss = HeadLoss("marginal_nll", generator=torch.Generator().manual_seed(0))
    terms = loss.parts(head(features()), label)
    assert set(terms) == {"marginal_nll", "dice", "dropout marginal_nll", "dropout dice"}
    terms["dropout marginal_nll"].backward()
    learnt = {
        name.split(".")[0] for name, p in head.named_parameters() if p.grad is not None and p.grad.abs().max() > 0
    }
    assert learnt == {"dropout"}


def test_the_measure_that_finds_wrong_voxels_best_is_chosen_and_kept_with_the_weights():
    head = build()
    data = stream(head)
    report = head.fit(data, data)
    with torch.no_grad():
        outputs = [(head(x), y) for x, y in data]
        wrong = torch.cat([(out.distribution.mean.argmax(1) != y).flatten() for out, y in outputs]).numpy()
        risk = torch.cat([out.maps["dropout_variance"].flatten() for out, _ in outputs]).numpy()
    wanted = mannwhitneyu(risk[wrong], risk[~wrong]).statistic / (wrong.sum() * (~wrong).sum())
    assert report["auroc_dropout_variance"] == pytest.approx(wanted)
    best = max(MEASURES, key=lambda name: report[f"auroc_{name}"])
    other = build()
    other.load_state_dict(head.state_dict())
    assert head.best() == other.best() == best
    assert head.scaled_by.keys() == FORMULAS.keys()
    assert head.scaled_by["l_fusion_uncertainty"] == best
    assert head.scaled_by["l_fusion_laplace"] in LAPLACE_MEASURES
    assert head.scaled_by["l_fusion_dropout"] in DROPOUT_MEASURES
    assert best in head.extra_maps()["l_fusion_uncertainty"].description


def test_voxels_that_nobody_labelled_choose_nothing():
    head = build()
    data = stream(head)
    hidden = [(x, torch.where(torch.arange(SHAPE[2]) > 1, -1, y)) for x, y in data]
    cut = [(x, y[..., :2]) for x, y in hidden]
    report = head.fit(data, hidden)
    with torch.no_grad():
        outputs = [(head(x), y) for (x, _), (_, y) in zip(data, cut, strict=True)]
        wrong = np.concatenate([(o.distribution.mean.argmax(1)[..., :2] != y).flatten() for o, y in outputs])
        risk = np.concatenate([o.maps["dropout_variance"][..., :2].flatten() for o, _ in outputs])
    wanted = mannwhitneyu(risk[wrong], risk[~wrong]).statistic / (wrong.sum() * (~wrong).sum())
    assert report["auroc_dropout_variance"] == pytest.approx(wanted)


def test_samples_of_the_dropout_path_are_passes_of_their_own():
    path = build().eval()(features()).paths["dropout"]
    draws = list(path.sample(6, torch.Generator().manual_seed(0)))
    assert len(draws) == 6
    assert all(not torch.equal(draws[0], other) for other in draws[1:])


def test_a_path_without_blocks_and_options_of_neither_path_are_refused():
    with pytest.raises(BundleError, match="'blocks' is 0"):
        build(blocks=0)
    with pytest.raises(BundleError, match="odd"):
        build(kernel=[2, 3, 3])
    with pytest.raises(BundleError, match=r"l_fusion.*nonsense"):
        build(posterior={"nonsense": 1})
