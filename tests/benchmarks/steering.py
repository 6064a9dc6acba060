"""Measuring 100 statements at 9 doses of one layer, against the bare model's passes over the same tokens."""

from __future__ import annotations

import time
from typing import Any

MODEL = "embedded"
DOSES = 9


def measure() -> list[dict[str, object]]:
    """One row: the time of the doses as a share of that of the forward passes they need, and of whole passes."""
    import torch

    from psyctl_core import lent_model
    from psyctl_steering import items
    from psyctl_steering.passes import Passes

    found = [statement for each in items.factors().values() for statement in each][:100]
    with lent_model(MODEL, options={"dtype": "float32"}) as lent:
        layer = f"model.layers[{round(0.6 * len(lent.model.model.layers))}]"
        (group,) = items.statements(found, "ipip").write(lent, "")
        directions = torch.randn(DOSES, lent.model.config.hidden_size)
        passes = Passes(lent.model, layer)
        began = time.perf_counter()
        batches = passes.prepared([group])
        once = time.perf_counter() - began
        began = time.perf_counter()
        passes.logprobs(batches, group, directions)
        ours = time.perf_counter() - began
        needed = DOSES * _bare(lent.model, batches)
        began = time.perf_counter()
        plain = Passes(lent.model, layer, plainly=True)
        plain.logprobs(plain.prepared([group]), group, directions[:1])
        whole = DOSES * (time.perf_counter() - began)
    return [
        {
            "items": len(group),
            "doses": DOSES,
            "seconds, once": round(once, 2),
            "seconds, all doses": round(ours, 2),
            "share of the bare passes it needs": round(ours / needed, 2),
            "share of whole passes": round((ours + once) / whole, 2),
        }
    ]


def _bare(model: Any, batches: Any) -> float:
    """Seconds of the bare blocks from the steered one on, and the head, over the same tokens."""
    import torch

    first = round(0.6 * len(model.model.layers))
    total = 0.0
    for batch in batches:
        states, places = batch.states, torch.arange(batch.ids.shape[1])[None]
        began = time.perf_counter()
        with torch.inference_mode():
            rotary = model.model.rotary_emb(states, places)
            for block in model.model.layers[first:]:
                states = block(states, position_embeddings=rotary, attention_mask=None)
            model.lm_head(model.model.norm(states)[:, -batch.columns :]).logsumexp(-1)
        total += time.perf_counter() - began
    return total
