"""SAM, MedSAM and SAM 2 by `transformers`, the model classes alone: pictures and prompts are made here (ADR 22)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from uncertaintyseg.backbones.hugging_face import transformers_class
from uncertaintyseg.errors import BundleError

Scaling = Literal["imagenet", "unit"]
"""What a picture of 0..1 becomes: less a mean and over a deviation (SAM, SAM 2), or 0..1 of its own again (MedSAM)."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Family(NamedTuple):
    """A kind of SAM.

    Attributes:
        title: what it is called.
        model: class in `transformers`.
        config: class of its configuration.
        padded: whether a picture keeps its shape, amid zeros to its right and below; else it is stretched to a square.
    """

    title: str
    model: str
    config: str
    padded: bool


FAMILIES = {
    "sam": Family("SAM", "SamModel", "SamConfig", padded=True),
    "sam2": Family("SAM 2", "Sam2Model", "Sam2Config", padded=False),
}


class Prompt(NamedTuple):
    """What a person, or another model, says of one structure in one picture, in its pixels `(column, row)`.

    Attributes:
        box: first column, first row, last column and last row.
        inside: pixels of the structure.
        outside: pixels that are none of it.
    """

    box: tuple[float, float, float, float] | None
    inside: Sequence[tuple[float, float]] = ()
    outside: Sequence[tuple[float, float]] = ()


class Sam(nn.Module):
    """A SAM in evaluation mode: a picture is encoded once, and each prompt decoded from that.

    Args:
        family: a name of `FAMILIES`.
        config: of `transformers`, as plain values.
        scaling: see `Scaling`.
        padded: as of `Family`; None: as the family has it. MedSAM was trained on stretched pictures.

    Raises:
        InputError: where `transformers` is missing.
        BundleError: for a configuration that makes no network.
    """

    def __init__(
        self, family: str, config: Mapping[str, Any], scaling: Scaling = "imagenet", padded: bool | None = None
    ) -> None:
        super().__init__()
        if family not in FAMILIES or scaling not in get_args(Scaling):
            raise BundleError(f"there is no SAM of family '{family}' and scaling '{scaling}'.")
        kind = FAMILIES[family]
        model, settings = transformers_class(kind.model), transformers_class(kind.config)
        try:
            self.model: nn.Module = model(settings(**config)).eval().requires_grad_(False)
            self.size = int(self.model.prompt_encoder.input_image_size)
        except Exception as error:  # transformers raises what it likes
            raise BundleError(f"this configuration makes no {kind.title}: {error}") from error
        self.scaling, self.padded = scaling, kind.padded if padded is None else padded
        _untie(self.model)

    @property
    def encoder(self) -> list[nn.Module]:
        """What runs once for a picture, whatever is asked of it; in order."""
        found = [self.model.vision_encoder]
        decoder = self.model.mask_decoder
        return found + [getattr(decoder, name) for name in ("conv_s0", "conv_s1") if hasattr(decoder, name)]

    def entering(self, picture: Tensor) -> Tensor:
        """A grey picture `[rows, columns]`, its values in 0..1, as the encoder takes it: `[1, 3, size, size]`."""
        rows, columns = self._inner(picture.shape)
        grey = picture[None, None].float()
        sized = F.interpolate(grey, size=(rows, columns), mode="bilinear", align_corners=False, antialias=True)
        if self.scaling == "unit":
            low, high = sized.amin(), sized.amax()
            coloured = ((sized - low) / torch.where(high > low, high - low, 1)).expand(1, 3, -1, -1)
        else:
            mean, std = (sized.new_tensor(values)[:, None, None] for values in (_MEAN, _STD))
            coloured = (sized - mean) / std
        return F.pad(coloured, (0, self.size - columns, 0, self.size - rows))

    def encode(self, picture: Tensor) -> list[Tensor]:
        """What the encoder says of a picture `[rows, columns]`, the coarsest map last."""
        found = self.model.get_image_embeddings(self.entering(picture))
        return list(found) if isinstance(found, list | tuple) else [found]

    def decode(self, encoded: list[Tensor], prompt: Prompt, shape: Sequence[int]) -> Tensor:
        """Logits of a structure on the pixels of a picture of `shape` (rows, columns).

        A box, or several points, has one answer. A single point may mean a part or the whole: of the three answers the
        one that the network thinks best of is taken (Kirillov et al. 2023, section 3).
        """
        points = [*prompt.inside, *prompt.outside]
        single = prompt.box is None and len(points) == 1
        said: dict[str, Tensor] = {}
        if points:
            kinds = [1] * len(prompt.inside) + [0] * len(prompt.outside)
            said["input_points"] = self._scaled(points, shape, encoded[-1])[None, None]
            said["input_labels"] = torch.tensor(kinds, device=encoded[-1].device)[None, None]
        if prompt.box is not None:
            corners = [prompt.box[:2], prompt.box[2:]]
            said["input_boxes"] = self._scaled(corners, shape, encoded[-1]).reshape(1, 1, 4)
        found = self.model(
            image_embeddings=encoded if len(encoded) > 1 else encoded[0], multimask_output=single, **said
        )
        masks = found.pred_masks[0, 0]
        mask = masks[found.iou_scores[0, 0].argmax()] if single else masks[0]
        return self._leaving(mask, shape)

    def _scaled(self, places: Sequence[Sequence[float]], shape: Sequence[int], like: Tensor) -> Tensor:
        """Pixels of the picture as pixels of what the encoder sees `[n, 2]`."""
        rows, columns = self._inner(shape)
        return like.new_tensor(list(places)) * like.new_tensor([columns / shape[1], rows / shape[0]])

    def _leaving(self, mask: Tensor, shape: Sequence[int]) -> Tensor:
        """A mask of the decoder on the pixels of the picture."""
        each = mask[None, None].float()
        if self.padded:
            rows, columns = self._inner(shape)
            each = F.interpolate(each, size=(self.size, self.size), mode="bilinear", align_corners=False)
            each = each[..., :rows, :columns]
        return F.interpolate(each, size=tuple(shape), mode="bilinear", align_corners=False)[0, 0]

    def _inner(self, shape: Sequence[int]) -> tuple[int, int]:
        """Rows and columns that a picture of `shape` has in what the encoder sees."""
        if not self.padded:
            return self.size, self.size
        rows, columns = (max(1, int(side * self.size / max(shape) + 0.5)) for side in shape)
        return rows, columns


def _untie(model: nn.Module) -> None:
    """Give each of two modules that share a tensor its own: files of weights hold every name."""
    shared = getattr(getattr(model, "prompt_encoder", None), "shared_embedding", None)
    if shared is not None:
        shared.positional_embedding = nn.Parameter(shared.positional_embedding.detach().clone(), requires_grad=False)
