"""Laplace and dropout on one frozen network, and the map of both."""

from uncertaintyseg.heads.l_fusion.head import LFusionHead

__all__ = ["LFusionHead"]
