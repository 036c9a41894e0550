"""Folders as `transformers` writes them: plain configurations and tensors; no code, no pickles, no downloads."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from uncertaintyseg.backbones.hugging_face import transformers_class
from uncertaintyseg.errors import BundleError

CONFIG = "config.json"
_SAFE = ("*.safetensors", "*.safetensors.index.json")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.msgpack", "*.h5")
_PLAIN = re.compile(r"[A-Za-z0-9_./-]*")
_LEFT_OUT = {"architectures", "auto_map", "dtype", "torch_dtype", "transformers_version", "_name_or_path"}
_NOTHING = re.compile(r"(?!)")


def read_config(folder: Path, kinds: Mapping[str, str]) -> dict[str, Any]:
    """The configuration of a folder, without what makes no network; its "model_type" is one of `kinds`.

    Args:
        folder: with config.json.
        kinds: titles of the networks that will do, for people, by `model_type`.

    Raises:
        BundleError: where it has none, or one of another network, or one that holds more than names and numbers.
    """
    path, known = folder / CONFIG, ", ".join(dict.fromkeys(kinds.values()))
    if not path.is_file():
        raise BundleError(
            f"{folder} has no {CONFIG}: give a folder with {CONFIG} and model.safetensors of one of these: {known}."
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not valid JSON ({error}): copy it again.") from error
    kind = found.get("model_type") if isinstance(found, dict) else None
    if kind not in kinds:
        raise BundleError(f"{path} is of a network '{kind!s:.40}'; of transformers' networks these will do: {known}.")
    found = _kept(found | {"id2label": None, "label2id": None})  # names of classes may hold anything
    if not _is_plain(found):
        raise BundleError(f"{path} holds more than names and numbers: copy it again from where it was published.")
    return {name: value for name, value in found.items() if value is not None}


def read_network(
    folder: Path, model: str, title: str, unneeded: re.Pattern[str] = _NOTHING, **settings: Any
) -> nn.Module:
    """The model of a folder with its weights, in float32; nothing is downloaded, unpickled or run that came with it.

    Args:
        folder: with config.json and weights.
        model: class of `transformers`.
        title: of the network, for people.
        unneeded: tensors that may be there beside those of the network.
        settings: of the class.

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
    made = transformers_class(model)
    try:
        with _quietly():
            network, notes = made.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, output_loading_info=True,
            weights_only=True, ignore_mismatched_sizes=True, **settings,
        )  # fmt: skip
    except Exception as error:  # transformers, safetensors and the operating system raise what they like
        reason = str(error).strip().split("\n", maxsplit=1)[0]
        raise BundleError(f"the weights in {folder} cannot be read as {title}: {reason[:200]}") from error
    unexpected = [name for name in notes["unexpected_keys"] if not unneeded.match(name)]
    sizes = [key if isinstance(key, str) else key[0] for key in notes["mismatched_keys"]]
    wrong = sorted([*notes["missing_keys"], *unexpected, *sizes])
    if wrong:
        raise BundleError(
            f"{folder} holds the weights of another network than its {CONFIG} says: {len(wrong)} tensors differ, first "
            f"'{wrong[0]:.80}'. Take both files of one network."
        )
    broken = next((name for name, value in network.named_parameters() if not value.isfinite().all()), None)
    if broken:
        raise BundleError(f"{folder}: the weights '{broken:.80}' are not all numbers: copy the file again.")
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
