"""Networks that turn an image into features; heads take it from there."""

from uncertaintyseg.backbones.attention_unet import AttentionUNetBackbone
from uncertaintyseg.backbones.base import Backbone
from uncertaintyseg.backbones.cut import CutBackbone
from uncertaintyseg.backbones.dynunet import DynUNetBackbone
from uncertaintyseg.backbones.encoder import EncoderBackbone
from uncertaintyseg.backbones.in_context import InContextBackbone
from uncertaintyseg.backbones.prompted import PromptedBackbone
from uncertaintyseg.backbones.slice_wise import SliceWise
from uncertaintyseg.backbones.universeg import UniverSeg

__all__ = [
    "AttentionUNetBackbone", "Backbone", "CutBackbone", "DynUNetBackbone", "EncoderBackbone", "InContextBackbone",
    "PromptedBackbone", "SliceWise", "UniverSeg",
]  # fmt: skip
