"""Running a network as it would be in evaluation, and running again only what differs from pass to pass."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, jit, nn

Forward = Callable[..., Any]


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """A network in evaluation mode, so that normalisation keeps its statistics; every flag is put back afterwards."""
    parts = [part for part in module.modules() if hasattr(part, "training")]  # frozen TorchScript has no flag
    flags = [part.training for part in parts]
    try:
        for part in parts:
            part.training = False
        yield
    finally:
        for part, flag in zip(parts, flags, strict=True):
            part.training = flag


@contextmanager
def hooked(layers: Iterable[nn.Module], hook: Callable[..., Any]) -> Iterator[None]:
    """A forward hook on each of the layers, taken off afterwards."""
    handles = [layer.register_forward_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def replaced(forwards: Mapping[nn.Module, Forward]) -> Iterator[None]:
    """Modules with other `forward` methods; hooks on them still run. Put back afterwards, also after an error."""
    before = {module: vars(module).get("forward") for module in forwards}
    try:
        for module, forward in forwards.items():
            module.forward = forward
        yield
    finally:
        for module, forward in before.items():
            if forward is not None:
                module.forward = forward
            else:
                vars(module).pop("forward", None)


class Prefix:
    """What a network computes before its first random layer: kept from the first pass, handed out in later ones.

    While the first pass runs, every module that ends before `differs` is called leaves its output here, in place of the
    outputs of the modules inside it; so the fewest and largest modules remain. In later passes these answer with a copy
    of it (of which in-place layers may make what they like) and nothing inside them runs. A module called several times
    has one output for each call. Left to run are modules that hold ones with hooks, because these would not fire, and
    modules whose output is not made of tensors.

    Every pass must be of the same image and take the same way through the network. It is for one thread at a time.

    Args:
        network: any module, in evaluation mode, its random layers made so by hooks.
    """

    def __init__(self, network: nn.Module) -> None:
        self._modules = [part for part in network.modules() if not isinstance(part, jit.ScriptModule)]
        self._kept: list[tuple[nn.Module, Any]] = []
        self._open = True
        self._complete = False

    def differs(self) -> None:
        """A random layer is about to act: what ends from here on is not the same in the next pass."""
        self._open = False

    @contextmanager
    def one_pass(self) -> Iterator[None]:
        """Run the network once inside: the first time all of it, later what comes after the prefix."""
        if self._complete:
            forwards = self._replays()
        else:
            self._kept, self._open = [], True
            forwards = {module: self._recording(module, module.forward) for module in self._modules}
        with replaced(forwards):
            yield
        self._complete = True

    def _recording(self, module: nn.Module, original: Forward) -> Forward:
        def forward(*inputs: Any, **named: Any) -> Any:
            mark = len(self._kept)
            output = original(*inputs, **named)
            if self._open and _of_tensors(output) and not _hooks_inside(module):
                self._kept[mark:] = [(module, _copied(output))]
            return output

        return forward

    def _replays(self) -> dict[nn.Module, Forward]:
        queues: dict[nn.Module, deque[Any]] = {}
        for module, output in self._kept:
            queues.setdefault(module, deque()).append(output)
        return {module: _replaying(queue, module.forward) for module, queue in queues.items()}


def _replaying(queue: deque[Any], original: Forward) -> Forward:
    def forward(*inputs: Any, **named: Any) -> Any:
        return _copied(queue.popleft()) if queue else original(*inputs, **named)

    return forward


def _hooks_inside(module: nn.Module) -> bool:
    parts = (part for part in module.modules() if part is not module)
    return any(part._forward_hooks or part._forward_pre_hooks for part in parts)  # noqa: SLF001 - torch has no other way


def _of_tensors(output: Any) -> bool:
    if type(output) in {dict, OrderedDict}:
        return all(map(_of_tensors, output.values()))
    # Named tuples, and dictionaries with attributes, are left out: they are not built from one sequence.
    return isinstance(output, Tensor) or (type(output) in {list, tuple} and all(map(_of_tensors, output)))


def _copied(output: Any) -> Any:
    if isinstance(output, dict):
        return {name: _copied(value) for name, value in output.items()}
    return output.clone() if isinstance(output, Tensor) else type(output)(map(_copied, output))
