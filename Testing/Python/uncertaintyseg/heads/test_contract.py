"""What every registered head keeps: a new head joins by being in `HEADS`."""

from __future__ import annotations

import inspect

import pytest
import torch
from safetensors.torch import load_file, save_file

from uncertaintyseg.errors import BundleError
from uncertaintyseg.heads import HEADS, Head, make_head
from uncertaintyseg.training.objectives import OBJECTIVES, HeadLoss

FEATURES = 6
SHAPE = (9, 6, 5)
"""Not a multiple of the parts of any head."""

every_head = pytest.mark.parametrize("name", sorted(HEADS))
every_count = pytest.mark.parametrize("classes", [2, 3, 5])


def build(name: str, classes: int = 3, **options: object) -> Head:
    torch.manual_seed(0)
    head = make_head(name, features=FEATURES, classes=classes, **options)
    for parameter in head.parameters():  # away from the special values that heads start from
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return head


def features(batch: int = 1, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    return torch.randn(batch, FEATURES, *shape, generator=torch.Generator().manual_seed(1))


def target(classes: int, batch: int = 1) -> torch.Tensor:
    return torch.randint(classes, (batch, 1, *SHAPE), generator=torch.Generator().manual_seed(2))


def test_the_heads_of_the_five_papers_are_registered():
    papers = {"deterministic", "diagonal", "low_rank", "single_basis", "mixture_of_bases", "laplace", "dropout"}
    assert papers | {"segwithu", "temperature", "l_fusion"} == set(HEADS)


@every_head
def test_a_head_is_registered_under_its_name_and_says_where_it_comes_from(name):
    assert HEADS[name].name == name
    assert HEADS[name].paper
    assert HEADS[name].summary
    assert HEADS[name].source in ("aleatoric", "epistemic", "total")
    assert HEADS[name].objective in {objective for objective, _ in OBJECTIVES}


@every_head
@every_count
@pytest.mark.parametrize("batch", [1, 2])
def test_shapes_follow_the_features(name, classes, batch):
    output = build(name, classes).eval()(features(batch))
    assert output.distribution.mean.shape == (batch, classes, *SHAPE)
    moments = output.distribution.moments()
    assert moments.probability.shape == moments.second_moment.shape == (batch, classes, *SHAPE)
    assert moments.expected_entropy.shape == (batch, 1, *SHAPE)
    assert next(output.distribution.sample(1)).shape == (batch, classes, *SHAPE)
    assert all(value.shape == (batch, 1, *SHAPE) for value in output.maps.values())


@every_head
@every_count
def test_maps_of_its_own_are_declared_and_stay_in_their_range(name, classes):
    head = build(name, classes).eval()
    declared = head.extra_maps()
    for scale in (1, 30):
        maps = head(scale * features()).maps
        assert maps.keys() == declared.keys()
        for key, value in maps.items():
            low, high = declared[key].range
            assert low <= value.min() <= value.max() <= high, key


@every_head
@every_count
def test_moments_are_those_of_probabilities(name, classes):
    moments = build(name, classes).eval()(10 * features()).distribution.moments()
    assert torch.isfinite(moments.stacked()).all()
    assert torch.allclose(moments.probability.sum(1), torch.ones(1, *SHAPE), atol=1e-5)
    assert moments.probability.min() >= -1e-6
    assert moments.probability.max() <= 1 + 1e-6
    assert (moments.second_moment <= moments.probability + 1e-6).all()


@every_head
@every_count
def test_a_head_does_not_reorder_the_classes_of_the_plain_network(name, classes):
    head = build(name, classes).eval()
    assert torch.equal(head(features()).distribution.mean.argmax(1), head.mean(features()).argmax(1))


@every_head
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 4), (4, 9, 7)])
def test_any_volume_that_the_backbone_can_make_will_do(name, shape):
    distribution = build(name).eval()(features(1, shape)).distribution
    assert distribution.moments().probability.shape == (1, 3, *shape)
    assert next(distribution.sample(1)).shape == (1, 3, *shape)


@pytest.mark.parametrize("name", sorted(name for name, head in HEADS.items() if not head.fitted))
@every_count
@pytest.mark.parametrize(("objective", "estimator"), list(OBJECTIVES))
def test_gradient_reaches_every_parameter_that_learns(name, classes, objective, estimator):
    head = build(name, classes).train()
    loss = HeadLoss(objective, estimator, generator=torch.Generator().manual_seed(0))
    loss(head(features(2)), target(classes, 2)).backward()
    for parameter_name, parameter in head.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, parameter_name
            assert torch.isfinite(parameter.grad).all(), parameter_name
            assert parameter.grad.abs().max() > 0, parameter_name


@pytest.mark.parametrize("name", sorted(name for name, head in HEADS.items() if head.fitted or head.completed))
def test_a_fitted_head_reports_what_it_chose(name):
    head = build(name).eval()
    stream = [(features(), target(3)[:, 0]) for _ in range(2)]
    report = head.fit(stream, stream)
    assert report
    assert all(isinstance(value, float) for value in report.values())
    assert torch.isfinite(head(features()).distribution.moments().stacked()).all()


@pytest.mark.parametrize("name", sorted(name for name, head in HEADS.items() if not (head.fitted or head.completed)))
def test_a_trained_head_cannot_be_fitted(name):
    with pytest.raises(BundleError, match=name):
        build(name).fit([], [])


@every_head
def test_penalties_are_there_in_training_only(name):
    head = build(name)
    assert head.eval()(features()).penalties == {}
    for value in head.train()(features()).penalties.values():
        assert value.shape == ()
        assert torch.isfinite(value)


@every_head
def test_evaluation_repeats_bit_for_bit(name):
    head = build(name).eval()
    with torch.inference_mode():
        one, two = (head(features()).distribution.moments().stacked() for _ in range(2))
    assert torch.equal(one, two)


@every_head
def test_maps_scaled_by_another_are_its_own_and_what_scales_them_is_there(name):
    head = build(name).eval()
    usual = {"variance", "mutual_information", "expected_entropy"}
    assert set(head.scaled_by) <= set(head.extra_maps())
    assert set(head.scaled_by.values()) <= set(head.extra_maps()) | usual


@every_head
def test_further_paths_are_of_the_same_logits_and_learn_and_can_be_drawn(name):
    head = build(name)
    learnt, found = head.train()(features()).paths, head.eval()(features()).paths
    assert learnt.keys() == found.keys() == set(head.further)
    for path in (*learnt.values(), *found.values()):
        draw = next(path.sample(1, torch.Generator().manual_seed(0)))
        assert draw.shape == (1, 3, *SHAPE)


@every_head
def test_the_same_seed_draws_the_same_samples(name):
    head = build(name).eval()
    one, two = (list(head(features()).distribution.sample(2, torch.Generator().manual_seed(7))) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@every_head
@pytest.mark.parametrize("noise", ["voxel", "cube", "volume"])
def test_the_head_and_its_distribution_agree_on_coherence(name, noise):
    options = {"noise": noise} if "noise" in inspect.signature(HEADS[name]).parameters else {}
    head = build(name, **options)
    assert head.coherent == head(features()).distribution.coherent


@every_head
def test_weights_survive_a_file_without_pickles(name, tmp_path):
    head = build(name).eval()
    save_file(head.state_dict(), tmp_path / "head.safetensors")
    other = make_head(name, features=FEATURES, classes=3).eval()
    other.load_state_dict(load_file(tmp_path / "head.safetensors"))
    assert torch.equal(*(h(features()).distribution.moments().stacked() for h in (head, other)))


@every_head
def test_a_new_head_starts_near_the_plain_network(name):
    torch.manual_seed(0)
    head = make_head(name, features=FEATURES, classes=3).eval()
    plain = head.mean(features()).softmax(1)
    assert (head(features()).distribution.moments().probability - plain).abs().max() < 0.15


@every_head
@pytest.mark.parametrize("classes", [0, 1])
def test_a_head_for_fewer_than_two_classes_is_refused(name, classes):
    with pytest.raises(BundleError, match="2 classes"):
        make_head(name, features=4, classes=classes)


@every_head
def test_an_option_that_a_head_does_not_have_is_refused_by_name(name):
    with pytest.raises(BundleError, match=rf"{name}.*nonsense"):
        make_head(name, features=4, classes=2, nonsense=1)


def test_an_unknown_head_is_answered_with_the_known_ones():
    with pytest.raises(BundleError, match=r"no head 'nonsense'.*deterministic.*low_rank.*mixture_of_bases"):
        make_head("nonsense", features=4, classes=2)
