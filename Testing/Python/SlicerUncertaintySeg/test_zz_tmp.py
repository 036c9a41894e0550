import pytest, time, slicer, cProfile, pstats, gc
@pytest.mark.parametrize("n", range(22))
def test_x(user, full_server, n):
    pr=cProfile.Profile()
    pr.enable()
    user.begin(full_server.url)
    user.press_everything()
    pr.disable()
    if n in (1,21):
        print("DBG",n, sum(1 for o in gc.get_objects() if type(o).__name__ in ("Session","Panel","Clicks","Maps")))
        pstats.Stats(pr).sort_stats("tottime").print_stats(16)
