"""One file a head; a registry by name. To add one: a file here, a bundle in models/, nothing else."""

from __future__ import annotations

from uncertaintyseg.errors import BundleError
from uncertaintyseg.heads.base import FeatureStream, Head, HeadOutput, Later
from uncertaintyseg.heads.deterministic import Deterministic
from uncertaintyseg.heads.diagonal import DiagonalHead
from uncertaintyseg.heads.dropout import DropoutHead
from uncertaintyseg.heads.l_fusion import LFusionHead
from uncertaintyseg.heads.laplace import LaplaceHead
from uncertaintyseg.heads.low_rank import LowRankHead
from uncertaintyseg.heads.mixture_of_bases import MixtureOfBases
from uncertaintyseg.heads.segwithu import SegWithU
from uncertaintyseg.heads.single_basis import SingleBasis
from uncertaintyseg.heads.temperature import Temperature

HEADS: dict[str, type[Head]] = {
    head.name: head
    for head in (
        Deterministic,
        DiagonalHead,
        LowRankHead,
        SingleBasis,
        MixtureOfBases,
        DropoutHead,
        SegWithU,
        LaplaceHead,
        LFusionHead,
        Temperature,
    )
}

__all__ = ["HEADS", "FeatureStream", "Head", "HeadOutput", "Later", "make_head"]


def make_head(name: str, **options: object) -> Head:
    """The head registered as `name`, built with its own options.

    Raises:
        BundleError: for an unknown name, or options that the head cannot take.
    """
    if name not in HEADS:
        raise BundleError(f"there is no head '{name}'; the heads are {', '.join(sorted(HEADS))}.")
    try:
        return HEADS[name](**options)
    except TypeError as error:
        raise BundleError(f"head '{name}': {error}.") from error
