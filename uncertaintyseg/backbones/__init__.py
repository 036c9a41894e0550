"""Networks that turn an image into features; heads take it from there."""

from uncertaintyseg.backbones.dynunet import DynUNetBackbone

__all__ = ["DynUNetBackbone"]
