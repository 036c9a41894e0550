"""Laplace posteriors over weights."""

from uncertaintyseg.heads.laplace.head import LaplaceHead

__all__ = ["LaplaceHead"]
