"""Running a step: the method, then its record in the history."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from core import keys
from core.context import Context
from core.errors import ConfigError, DataError
from core.options import check
from core.pipeline.steps import step
from core.provenance import content_hash, history, merge_histories, versions, write_history

if TYPE_CHECKING:  # the web process reads the Configs and must stay free of anndata
    from anndata import AnnData

    from core.vae import Model


def run_step(name: str, inputs: dict[str, AnnData], config: Any = None, context: Context | None = None) -> AnnData:
    """Run one step and append its record to ``uns['spatialmeta']['history']`` of the output.

    Parameters
    ----------
    inputs
        One object per name in the step's ``inputs``; they are not changed.
    config
        The step's Config; None for the defaults.
    context
        Who hears of the progress and may cancel.

    Returns
    -------
    AnnData
        The method's result; its history is that of all inputs and the new record: name, config, seed, inputs (content
        hashes), versions, start (ISO 8601, UTC), duration_s.
    """
    chosen, context = step(name), context or Context()
    missing = [i for i in chosen.inputs if i not in inputs]
    unknown = sorted(set(inputs) - set(chosen.inputs))
    if missing or unknown:
        raise ConfigError(
            f"inputs {', '.join(chosen.inputs)} of step {name}", found=", ".join(sorted(inputs)) or "none"
        )
    config = check(config) if config is not None else chosen.Config()
    if not isinstance(config, chosen.Config):
        raise ConfigError(f"a {chosen.Config.__name__} for step {name}", found=type(config).__name__)
    hashes = {i: content_hash(inputs[i]) for i in chosen.inputs}
    start, clock = datetime.now(UTC), time.perf_counter()
    output = chosen.run(*(inputs[i] for i in chosen.inputs), config, context)
    merge_histories(output, [inputs[i] for i in chosen.inputs])
    _append(output, name, config, hashes, start=start, clock=clock)
    return output


def run_concat(joints: Mapping[str, AnnData], config: Any = None, context: Context | None = None) -> AnnData:
    """Join samples (name -> joint object) and append the record 'concat' to the history; see
    :func:`core.joining.concat`."""
    from core.joining import ConcatConfig, concat

    config = check(config) if config is not None else ConcatConfig()
    hashes = {name: content_hash(joint) for name, joint in joints.items()}
    start, clock = datetime.now(UTC), time.perf_counter()
    output = concat(joints, config, context)
    _append(output, "concat", config, hashes, start=start, clock=clock)
    return output


def run_encode(model: Model, joint: AnnData) -> AnnData:
    """Place the spots of *joint*, of reassign or later, in the embedding of a trained model, and append the record
    'encode' with the settings of its training to the history; see :meth:`core.vae.Model.place`."""
    from core.preprocessing import normalize_modalities
    from core.vae.model import share

    if keys.TYPE not in joint.var:
        raise DataError(f"var['{keys.TYPE}'] to say ST or SM", found="no such column", mend="Run reassign first.")
    hashes = {"joint": content_hash(joint)}
    start, clock = datetime.now(UTC), time.perf_counter()
    normalized = share(joint)
    normalize_modalities(
        normalized,
        gene_target=model.target_sums.get(keys.ST),
        metabolite_target=model.target_sums.get(keys.SM),
        normalisation="total" if model.target_sums else "none",
    )
    output = model.place(normalized)
    _append(output, "encode", model.config, hashes, start=start, clock=clock)
    return output


def _append(output: AnnData, name: str, config: Any, hashes: dict[str, str], *, start: datetime, clock: float) -> None:
    record = {
        "name": name,
        "config": dataclasses.asdict(config),
        "seed": getattr(config, "seed", None),
        "inputs": hashes,
        "versions": versions(),
        "start": start.isoformat(timespec="milliseconds"),
        "duration_s": round(time.perf_counter() - clock, 3),
    }
    write_history(output, [*history(output), record])
