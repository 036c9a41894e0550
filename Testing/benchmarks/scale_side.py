"""What `scale.py` has workers do that import it."""

from __future__ import annotations

from typing import Any

import numpy as np

ANSWER = 15_000
"""Numbers in each of four arrays: about what an evaluation of three classes answers with."""


def nothing(_predictor: Any, case: Any, _progress: Any) -> dict[str, Any]:
    """The answer of a case without its work: what is left is what handing it out costs."""
    return {"id": case.id, "sums": np.zeros((4, ANSWER))}
