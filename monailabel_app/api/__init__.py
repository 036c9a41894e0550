"""Routes: our own router, and stock ones that must not block, open files by path or start a second app."""

from monailabel_app.api import (
    active_learning,
    audit,
    auth,
    batch,
    conditioning,
    datastore,
    dicom,
    infer,
    model,
    ohif,
    scoring,
    sessions,
    train,
    unavailable,
    uncertainty,
)

routers = [
    auth.router,
    audit.router,
    uncertainty.router,
    conditioning.router,
    infer.router,
    active_learning.router,
    model.router,
    train.router,
    batch.router,
    scoring.router,
    datastore.router,
    dicom.router,
    sessions.router,
    ohif.router,
    unavailable.router,
]
