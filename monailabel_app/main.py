"""What MONAI Label looks for in an app folder: the one subclass of `MONAILabelApp`."""

from monailabel_app.app import UncertaintySegApp

__all__ = ["UncertaintySegApp"]
