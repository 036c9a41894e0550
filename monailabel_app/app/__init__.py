"""The MONAI Label app: its datastore, tasks and strategies."""

from monailabel_app.app.application import UncertaintySegApp

__all__ = ["UncertaintySegApp"]
