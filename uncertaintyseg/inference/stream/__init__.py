"""From a volume to maps on the scan's grid in bounded memory, however many classes and however long the scan.

Four pieces that know nothing of one another but what they hand on (docs/adr/0012):

- `WindowLayout.over(shape, divisor, box)` says where windows lie and how they are weighted: a `WindowPlan`.
- `run_windows(volume, plan, average)` runs them in order along one axis and yields `Slab`s: planes of the model's grid
  that no later window reaches, already averaged. What is averaged is the `Average`'s affair: `MomentAverage` for a
  distribution over logits, `LogitAverage` for a network that has none.
- `onto_grid(slabs, grid, average)` brings finished planes to the scan's grid and yields `Chunk`s: all class
  probabilities and maps of some planes.
- `Gatherer.add(chunk)` keeps of them what a prediction is made of: the label, maps, a box for each structure. Whatever
  has an `add` of the kind may stand there instead.

    plan = WindowLayout.of(bundle, network.divisor).over(volume.shape[1:], network.divisor)
    average = MomentAverage(network, classes, variances)
    grid = GridMap(volume.affine, volume.shape[1:], scan.affine, scan.shape[1:])
    gatherer = Gatherer(grid.shape, grid.planes_axis(plan.axis), structures, scratch)
    for chunk in onto_grid(run_windows(volume.as_tensor(), plan, average), grid, average):
        gatherer.add(chunk)
    label, maps = gatherer.finish()[:2]

Tensors of slabs and chunks have their planes first, `[k, planes, *others]`, whichever axis they run along. Slab and
chunk sizes never change a bit of the result.
"""

from uncertaintyseg.inference.stream.averages import Average, LogitAverage, MomentAverage
from uncertaintyseg.inference.stream.gatherer import CUT, Gathered, Gatherer
from uncertaintyseg.inference.stream.grid import Chunk, GridMap, onto_grid
from uncertaintyseg.inference.stream.layout import WindowLayout, WindowPlan
from uncertaintyseg.inference.stream.need import Need, need
from uncertaintyseg.inference.stream.scratch import IN_MEMORY_BYTES, Scratch
from uncertaintyseg.inference.stream.windows import Slab, run_windows

__all__ = [
    "CUT", "IN_MEMORY_BYTES", "Average", "Chunk", "Gathered", "Gatherer", "GridMap", "LogitAverage", "MomentAverage",
    "Need", "Scratch", "Slab", "WindowLayout", "WindowPlan", "need", "onto_grid", "run_windows",
]  # fmt: skip
