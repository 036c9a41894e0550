"""Settings of a recipe on the command line."""

from __future__ import annotations

import pytest

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.training.chosen import chosen_settings
from uncertaintyseg.training.recipe import Recipe


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return Bundle.load(tiny.write_bundle(tmp_path_factory.mktemp("models")))


def test_structures_to_balance_are_named_and_other_settings_kept(bundle):
    found = chosen_settings(bundle, {"schedule": "plateau", "focal_alpha": [1, 2, 4]}, ["Lesion"])
    assert found == {"schedule": "plateau", "focal_alpha": [1, 2, 4], "rare_labels": [2]}
    recipe = Recipe.load(bundle, **found)
    assert (recipe.schedule, recipe.focal_alpha, recipe.rare_labels, recipe.rare_weight) == (
        "plateau",
        [1, 2, 4],
        [2],
        3,
    )


def test_settings_that_have_what_they_need_are_taken(bundle):
    wanted = {"rare_weight": 5.0, "rare_labels": [1], "schedule": "cosine", "final_learning_rate": 1e-4}
    assert Recipe.load(bundle, **wanted).model_dump().items() >= wanted.items()
    Recipe.load(bundle, final_learning_rate=0.0)  # where the others end too
    with pytest.raises(InputError, match=r"'recipe\.rare_weight' .* --balance NAME"):
        Recipe.load(bundle, rare_weight=3.0)
    with pytest.raises(InputError, match=r'schedule "cosine" ends, and this is "plateau"'):
        Recipe.load(bundle, schedule="plateau", final_learning_rate=1e-4)


def test_what_there_is_not_is_refused_by_name(bundle):
    with pytest.raises(InputError, match=r"--set speed: .*focal_alpha"):
        chosen_settings(bundle, {"speed": 3})
    with pytest.raises(InputError, match=r"--balance 'heart': the structures of .* are organ, lesion"):
        chosen_settings(bundle, {}, ["heart"])
    with pytest.raises(InputError, match="--set rare_labels: --balance says that already"):
        chosen_settings(bundle, {"rare_labels": [1]}, ["lesion"])
    with pytest.raises(InputError, match=r"--set backbone: .* --fine-tune"):
        chosen_settings(bundle, {"backbone": "fine-tuned"})
