"""What a folder of `transformers` holds: its configuration as plain values, and its weights; no code, no pickles."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from uncertaintyseg.backbones.sam import FAMILIES, transformers_class
from uncertaintyseg.errors import BundleError

CONFIG = "config.json"
KINDS = {"sam": "sam", "sam2": "sam2", "sam2_video": "sam2"}
"""Family of each `model_type`; published files of SAM 2 say that they are of video, and hold that of images too."""
_SAFE = ("*.safetensors", "*.safetensors.index.json")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.msgpack", "*.h5")
_PLAIN = re.compile(r"[A-Za-z0-9_./-]*")
_LEFT_OUT = {"architectures", "auto_map", "dtype", "torch_dtype", "transformers_version", "_name_or_path"}
_VIDEO = re.compile(r"memory_|mask_downsample|object_pointer|temporal_positional|no_memory_pos|no_object|occlusion")
_PARTS = ("vision_config", "prompt_encoder_config", "mask_decoder_config")


def read_config(folder: Path) -> tuple[str, dict[str, Any]]:
    """Family and configuration of a folder.

    Raises:
        BundleError: where it has none, or one of another network, or one that holds more than names and numbers.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise BundleError(
            f"{folder} has no {CONFIG}: give a folder of SAM or SAM 2 with {CONFIG} and model.safetensors."
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not valid JSON ({error}): copy it again.") from error
    kind = found.get("model_type") if isinstance(found, dict) else None
    if kind not in KINDS:
        known = ", ".join(family.title for family in FAMILIES.values())
        raise BundleError(f"{path} is of a network '{kind!s:.40}'; of transformers' networks these are known: {known}.")
    if not _is_plain(found):
        raise BundleError(f"{path} holds more than names and numbers: copy it again from where it was published.")
    config = {name: value for name, value in _kept(found).items() if name in (*_PARTS, "initializer_range")}
    return KINDS[kind], config


def read_network(folder: Path, family: str) -> nn.Module:
    """The model of a folder with its weights, in float32; nothing is downloaded, unpickled or run that came with it.

    Raises:
        BundleError: for weights that are missing, pickled, damaged, or of another network than the configuration says.
        InputError: where `transformers` is missing.
    """
    if not any(path for pattern in _SAFE for path in folder.glob(pattern)):
        pickled = next((path.name for pattern in _PICKLES for path in sorted(folder.glob(pattern))), None)
        if pickled:
            raise BundleError(
                f"{folder / pickled} is a pickle, which can run programs, and is never opened. Take the file "
                "model.safetensors of the same network; most publishers have both, and transformers writes it "
                "(save_pretrained) on a machine where you trust the pickle."
            )
        raise BundleError(f"{folder} has no weights: put model.safetensors beside its {CONFIG}.")
    kind = FAMILIES[family]
    model = transformers_class(kind.model)
    try:
        with _quietly():
            network, notes = model.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, output_loading_info=True,
            weights_only=True,
        )  # fmt: skip
    except Exception as error:  # transformers, safetensors and the operating system raise what they like
        reason = str(error).strip().split("\n", maxsplit=1)[0]
        raise BundleError(f"the weights in {folder} cannot be read as {kind.title}: {reason[:200]}") from error
    unexpected = [name for name in notes["unexpected_keys"] if not _VIDEO.match(name)]
    wrong = sorted(map(str, [*notes["missing_keys"], *unexpected, *notes["mismatched_keys"]]))
    if wrong:
        raise BundleError(
            f"{folder} holds the weights of another network than its {CONFIG} says: {len(wrong)} tensors differ, first "
            f"'{wrong[0]:.80}'. Take both files of one network."
        )
    return network.float().eval()


@contextmanager
def _quietly() -> Iterator[None]:
    """Without bars and reports of `transformers`: what differs is said by us."""
    said = importlib.import_module("transformers.utils.logging")
    verbosity, bars = said.get_verbosity(), said.is_progress_bar_enabled()
    said.set_verbosity(said.CRITICAL)
    said.disable_progress_bar()
    try:
        yield
    finally:
        said.set_verbosity(verbosity)
        if bars:
            said.enable_progress_bar()


def _is_plain(value: Any) -> bool:
    """Whether a value is made of numbers, plain words and lists of them: MONAI evaluates texts of other kinds."""
    if isinstance(value, Mapping):
        return all(_PLAIN.fullmatch(key) and key != "_target_" and _is_plain(v) for key, v in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return bool(_PLAIN.fullmatch(value)) if isinstance(value, str) else value is None or isinstance(value, int | float)


def _kept(config: Any) -> Any:
    """A configuration without what does not make the network."""
    if isinstance(config, Mapping):
        return {key: _kept(value) for key, value in config.items() if key not in _LEFT_OUT}
    return config
