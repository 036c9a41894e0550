"""Routes: our own router, and stock ones that must not block, open files by path or start a second app."""

from monailabel_app.api import active_learning, datastore, infer, scoring, sessions, unavailable, uncertainty

routers = [
    uncertainty.router,
    infer.router,
    active_learning.router,
    scoring.router,
    datastore.router,
    sessions.router,
    unavailable.router,
]
