"""`evaluate --compare`: models, methods and earlier results on the same cases."""

from __future__ import annotations

import json

import pytest
from scipy.stats import wilcoxon


def test_methods_and_earlier_results_are_compared_on_the_same_cases(command, models, windows, tmp_path):
    (tmp_path / "ids.txt").write_text("case_0 case_1 case_2 case_3")
    options = [*models(), windows, "--cases", tmp_path / "ids.txt"]
    before = command("evaluate", *options, "--json")
    (tmp_path / "before.json").write_text(before.out)
    kept = json.loads(before.out)
    assert "comparison" not in kept
    kept["cases"] = kept["cases"][1:]
    kept["failed"] = {"case_0": "its scan was damaged"}
    (tmp_path / "partly.json").write_text(json.dumps(kept))
    given = ["--compare", "noise", "--compare", f"{tmp_path / 'before.json'},{tmp_path / 'partly.json'}"]
    found = command("evaluate", *options, *given, "--picture", tmp_path / "all.png", "--json").json
    comparison = found["comparison"]
    titles = ["tiny_deterministic", "tiny_deterministic with noise", "before", "partly"]
    assert list(comparison["pooled"]) == titles
    assert comparison["cases"] == ["case_1", "case_2", "case_3"]
    assert comparison["left_out"] == {"case_0": {"partly": "its scan was damaged"}}
    assert (tmp_path / "all_compare.png").stat().st_size > 10_000
    noisy = found["results"][titles[1]]
    nll = [[row["nll"] for row in result["cases"][1:]] for result in (found, noisy)]
    (test,) = (t for t in comparison["tests"] if (t["measure"], t["a"], t["b"]) == ("nll", *titles[:2]))
    assert test["p"] == pytest.approx(wilcoxon(*nll).pvalue)
    assert test["p"] <= test["p_holm"] <= 1
    same = [t for t in comparison["tests"] if (t["a"], t["b"]) == (titles[0], "before")]
    assert all(t["p"] in {1, None} for t in same)
    counts = [row["counts"]["organ"] for row in found["cases"][1:]]
    tp, fp, fn = (sum(row[kind] for row in counts) for kind in ("tp", "fp", "fn"))
    pot = comparison["pooled"][titles[0]]["structures"]["organ"]["dice"]["mean"]
    assert pot == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert found["pooled"]["ece"] == pytest.approx(found["ece"])


def test_what_cannot_be_compared_is_refused(command, models, windows, tmp_path):
    name, *where = models()
    options = [name, windows, *where]
    assert "compared with itself" in command("evaluate", *options, "--compare", name).message
    assert "there is no model 'absent'" in command("evaluate", *options, "--compare", "absent").message.lower()
    (tmp_path / "old.json").write_text('{"cases": [{"id": "case_0"}]}')
    assert "evaluate again" in command("evaluate", *options, "--compare", tmp_path / "old.json").message
