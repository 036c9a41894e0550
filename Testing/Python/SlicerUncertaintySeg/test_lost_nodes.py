"""Nodes that go while they are used."""

def test_smoke(user, full_server):
    user.begin(full_server.url)
    user.press_everything()
    print(user.status)
