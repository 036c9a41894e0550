from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import slicer

import headless_slicer


def test_there_is_one_host(host):
    assert headless_slicer.start() is host
    assert slicer.mrmlScene is host.scene
    assert slicer.app.applicationLogic() is host.application_logic
    assert slicer.app.layoutManager() is host.layout.manager


def test_the_scene_comes_without_qt():
    draw = "import headless_slicer; headless_slicer.start().slice_view('Red').image()"
    code = f"{draw}; import sys; print('PySide6' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=60, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(("name", "orientation"), [("Red", "Axial"), ("Yellow", "Sagittal"), ("Green", "Coronal")])
def test_views_have_slicers_names_and_orientations(host, name, orientation):
    assert host.slice_view(name).node.GetOrientation() == orientation
    assert host.slice_view(name) is host.slice_view(name)


def test_a_picture_has_the_size_of_the_view_and_shows_the_volume(view):
    image = view.image()
    assert image.shape == (450, 500, 3)
    for ras in [(-20.0, 0.0, 0.0), (0.0, 5.0, 0.0), (20.0, -5.0, 0.0)]:
        row, column = view.pixel_of(ras)
        assert image[row, column] == pytest.approx(255 * (ras[0] + 30) / 59, abs=4)


def test_right_is_on_the_left_as_radiologists_look(view):
    assert view.pixel_of((20, 0, 0))[1] > view.pixel_of((40, 0, 0))[1]
    assert view.pixel_of((0, 20, 0))[0] < view.pixel_of((0, 0, 0))[0]


def test_jump_moves_the_slice_and_does_not_pan(host, view):
    pixel = view.pixel_of((5.0, 5.0, 0.0))
    view.jump_to((5.0, 5.0, 12.0))
    assert view.node.GetSliceOffset() == pytest.approx(12.0)
    assert view.pixel_of((5.0, 5.0, 12.0)) == pixel


def test_zoom_magnifies_about_the_centre(view):
    before = np.subtract(view.pixel_of((20, 0, 0)), view.pixel_of((0, 0, 0)))
    view.zoom(2.0)
    after = np.subtract(view.pixel_of((20, 0, 0)), view.pixel_of((0, 0, 0)))
    np.testing.assert_allclose(after, 2 * before, atol=2)


def test_a_saved_picture_is_the_one_that_is_seen(view, tmp_path):
    from PIL import Image

    path = view.save_png(tmp_path / "red.png")
    np.testing.assert_array_equal(np.asarray(Image.open(path)), view.image())


def test_clearing_empties_the_scene_and_keeps_the_views(host, view, ramp):
    host.clear()
    assert host.scene.GetFirstNodeByName("ramp") is None
    assert view.node.IsMappedInLayout()
    assert not view.image().any()


def test_volume_rendering_shows_in_the_3d_view(host, ramp):
    view = host.three_d_view()
    view.fit()
    empty = view.image().astype(int)
    logic = slicer.modules.volumerendering.logic()
    display = logic.CreateDefaultVolumeRenderingNodes(ramp)
    display.SetVisibility(True)
    view.fit()
    assert (np.abs(view.image().astype(int) - empty).sum(axis=-1) > 30).mean() > 0.01
