from __future__ import annotations

import pytest

VIEWS = ("Red", "Yellow", "Green")


@pytest.mark.parametrize("name", ["phantom_case", "hippocampus_case", "abdomen_case"])
def test_draw(request, host, show, name, tmp_path):
    files = request.getfixturevalue(name)
    views = [host.slice_view(v) for v in VIEWS]
    case = show(host, files)
    ras = case.riskiest_position("predictive_entropy")
    for v, view in zip(VIEWS, views):
        view.fit()
        view.jump_to(ras)
        view.save_png(f"/tmp/pics/{name}_{v}.png")
