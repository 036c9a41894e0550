"""One file a head; a registry by name. To add one: a file here, a bundle in models/, nothing else."""

from __future__ import annotations

from uncertaintyseg.errors import BundleError
from uncertaintyseg.heads.base import Head, HeadOutput
from uncertaintyseg.heads.deterministic import Deterministic
from uncertaintyseg.heads.low_rank import LowRankHead
from uncertaintyseg.heads.mixture_of_bases import MixtureOfBases

HEADS: dict[str, type[Head]] = {head.name: head for head in (Deterministic, LowRankHead, MixtureOfBases)}

__all__ = ["HEADS", "Deterministic", "Head", "HeadOutput", "LowRankHead", "MixtureOfBases", "make_head"]


def make_head(name: str, **options: object) -> Head:
    """The head registered as `name`, built with its own options.

    Raises:
        BundleError: for an unknown name.
    """
    if name not in HEADS:
        raise BundleError(f"there is no head '{name}'; the heads are {', '.join(sorted(HEADS))}.")
    return HEADS[name](**options)
