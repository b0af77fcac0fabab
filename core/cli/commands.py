"""The commands: read, run steps, write, answer. Each takes the parsed arguments."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData

from core import io, keys
from core.cli.terminal import TerminalContext, answer, warn
from core.errors import DataError, StorageError
from core.io.text import read_text, write_text
from core.pipeline import STEPS, history, run_step
from core.registration import landmarks

#: share of each step in the time of the whole, for the progress bar of ``run``
SHARES = {"align": 0.25, "reassign": 0.05, "features": 0.05, "integrate": 0.5, "cluster": 0.15}


def simulate(given: argparse.Namespace) -> None:
    """Write one folder, or one per sample, with st.h5ad, sm.h5ad and truth.json."""
    from core.datasets import simulate as simulate_pairs

    config = given.settings.read(given)
    folder = Path(given.out)
    _check_parent(folder)
    made = simulate_pairs(config)
    # everything is written beside the target first, so that an interruption leaves no part of it there
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        for sample in made.samples:
            part = Path(temporary) / (sample.name if len(made.samples) > 1 else "")
            part.mkdir(exist_ok=True)
            io.write_h5ad(sample.st, part / "st.h5ad")
            io.write_h5ad(sample.sm, part / "sm.h5ad")
            write_text(_truth_json(sample.truth), part / "truth.json")
        written = [path.relative_to(temporary) for path in sorted(Path(temporary).rglob("*")) if path.is_file()]
        for path in written:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(temporary) / path).replace(folder / path)
    files = [str(folder / path) for path in written]
    answer(given, f"wrote {', '.join(files)}", files=files, config=asdict(config))


def inspect(given: argparse.Namespace) -> int:
    """Print what is in a file and its checks; 1 where one is blocking."""
    kind, adata = _read_any(given)
    checks = {"st": io.check_st, "sm": io.check_sm}.get(kind, lambda _: [])(adata)
    steps = history(adata)
    facts = {
        "file": given.file,
        "kind": kind,
        "n_obs": adata.n_obs,
        "n_vars": adata.n_vars,
        "obs": list(map(str, adata.obs.columns)),
        "var": list(map(str, adata.var.columns)),
        "obsm": sorted(adata.obsm),
        "layers": sorted(adata.layers),
        "checks": [asdict(check) for check in checks],
        "history": steps,
    }
    lines = [f"{given.file}: {kind.upper()}, {adata.n_obs:,} x {adata.n_vars:,}"]
    lines += [f"  {check.level:<8} {check.title}: {check.found} {check.mend}".rstrip() for check in checks]
    lines += [f"  step     {record['name']} ({record['start']}, {record['duration_s']} s)" for record in steps]
    answer(given, "\n".join(lines), **facts)
    return int(any(check.level == "blocking" for check in checks))


def pair_step(given: argparse.Namespace) -> None:
    """``align`` and ``reassign``: an ST and an SM section in, one object out."""
    _heed_orientation(given)
    config = given.settings.read(given)
    out = _output(given)
    st, sm = _read_pair(given, aligned=given.step != "align")
    config = _with_landmarks(config, st)
    with _reporting(given, given.step) as context:
        result = run_step(given.step, {"st": st, "sm": sm}, config, context)
    _write(given, result, out)


def joint_step(given: argparse.Namespace) -> None:
    """``features``, ``integrate`` and ``cluster``: a joint object in, a joint object out."""
    config = given.settings.read(given)
    out = _output(given)
    joint = io.read_h5ad(given.joint)
    with _reporting(given, given.step) as context:
        if given.step == "integrate" and keys.SELECTED not in joint.var:
            joint = run_step("features", {"joint": joint}, None, context.part("features", 0.0, 0.1))
            context.part("integrate", 0.1, 0.9)
        result = run_step(given.step, {"joint": joint}, config, context)
    _write(given, result, out)


def run(given: argparse.Namespace) -> None:
    """All steps, from a raw pair to clusters."""
    _heed_orientation(given)
    configs = {name: settings.read(given) for name, settings in given.settings.items()}
    out = _output(given)
    st, sm = _read_pair(given, aligned=False)
    configs["align"] = _with_landmarks(configs["align"], st)
    objects = {"st": st, "sm": sm}
    done = 0.0
    with _reporting(given, "run") as context:
        for name, step in STEPS.items():
            context.part(name, done, SHARES[name])
            inputs = {i: objects[i] for i in step.inputs}
            objects[step.output] = run_step(name, inputs, configs[name], context)
            done += SHARES[name]
            if step.output == "sm":
                _warn_of(io.check_pair(st, objects["sm"], aligned=True))
    _write(given, objects["joint"], out, objects["sm"])


def markers(given: argparse.Namespace) -> None:
    """Wilcoxon markers of each group, as CSV."""
    from core.analysis.markers import markers as find_markers

    out = _output(given)
    joint = io.read_h5ad(given.joint)
    with _reporting(given, "markers") as context:
        table = find_markers(joint, given.groupby, layer=given.layer, context=context)
    write_text(table.to_csv(index=False), out)
    groups = sorted(set(table["group"]))
    answer(given, f"wrote {out}: {len(groups)} groups", out=str(out), rows=len(table), groups=groups)


def _heed_orientation(given: argparse.Namespace) -> None:
    """Who gives a turn or a mirror image means it: align starts from there, unless --orientation says otherwise."""
    if {"option_flip", "option_rotation_deg"} & set(vars(given)) and not hasattr(given, "option_orientation"):
        given.option_orientation = "given"


def _with_landmarks(config: Any, st: AnnData) -> Any:
    """*config* with the pairs of the CSV file that ``--landmarks`` names, as they are kept."""
    given = getattr(config, "landmarks", "")
    if not given or given.lstrip().startswith("["):
        return config
    text = read_text(given, "a landmark CSV")
    scales = landmarks.picture_scales(st.uns.get(keys.UNS_SPATIAL))
    return replace(config, landmarks=landmarks.from_csv(text, st_xy=st.obsm[keys.SPATIAL], scales=scales).to_text())


def _output(given: argparse.Namespace) -> Path:
    """The path to write; refused before the work where it can not be."""
    out = Path(given.out)
    _check_parent(out)
    if out.is_dir():
        raise StorageError("a file to write", found=f"the folder {out}", mend="Give --out a file name.")
    return out


def _check_parent(path: Path) -> None:
    if not path.parent.is_dir():
        raise StorageError(f"the folder {path.parent} to write into", found="no such folder", mend="Make it first.")


def _read_pair(given: argparse.Namespace, *, aligned: bool) -> tuple[AnnData, AnnData]:
    st = io.read_st(given.st, image=given.image, image_scale=given.image_scale)
    _warn_of(io.check_st(st))
    sm = io.read_sm(given.sm, ibd=given.ibd, spatial_key=given.sm_spatial_key)
    _warn_of(io.check_sm(sm))
    _warn_of(io.check_pair(st, sm, aligned=aligned))
    return st, sm


def _warn_of(checks: list[io.Check]) -> None:
    """Stop at the first blocking check, name the warnings."""
    for check in checks:
        if check.level == "blocking":
            raise DataError(f"usable data ({check.title.lower()})", found=check.found.rstrip("."), mend=check.mend)
        if check.level == "warning":
            warn(f"{check.title}: {check.found} {check.mend}")


def _read_any(given: argparse.Namespace) -> tuple[str, AnnData]:
    """What the file is ('st', 'sm' or 'joint') and its content."""
    kind = given.kind
    if kind == "auto":
        kind = _kind_of(Path(given.file))
    if kind == "joint":
        return kind, io.read_h5ad(given.file)
    if kind == "sm":
        return kind, io.read_sm(given.file, ibd=given.ibd, spatial_key=given.sm_spatial_key)
    return kind, io.read_st(given.file, image=given.image, image_scale=given.image_scale)


def _kind_of(path: Path) -> str:
    name = path.name.lower()
    if name.endswith((".imzml", ".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz")):
        return "sm"
    if not name.endswith(".h5ad"):
        return "st"
    var = io.read_h5ad(path).var
    types = set(var[keys.TYPE].astype(str)) if keys.TYPE in var else set()
    if types == {keys.ST, keys.SM}:
        return "joint"
    return "sm" if types == {keys.SM} or (not types and keys.MZ in var) else "st"


@contextmanager
def _reporting(given: argparse.Namespace, title: str) -> Iterator[TerminalContext]:
    context = TerminalContext(title, quiet=given.json)
    given.started = time.perf_counter()
    try:
        yield context
    finally:
        context.close()


def _write(given: argparse.Namespace, result: AnnData, out: Path, aligned: AnnData | None = None) -> None:
    """Write the result and, where a section was aligned, its transform beside it; then answer."""
    io.write_h5ad(result, out)
    written = {"out": str(out)}
    alignment = (aligned if aligned is not None else result).uns.get(keys.UNS, {}).get(keys.ALIGNMENT)
    if alignment is not None and (aligned is not None or getattr(given, "step", "") == "align"):
        beside = out.with_name(out.stem + ".transform.json")
        write_text(_transform_json(alignment), beside)
        written["transform"] = str(beside)
    facts = {"n_obs": result.n_obs, "n_vars": result.n_vars, "history": history(result)}
    seconds = round(time.perf_counter() - given.started, 2)
    sentence = f"wrote {', '.join(written.values())}: {result.n_obs:,} x {result.n_vars:,}, {seconds:g} s"
    answer(given, sentence, **written, seconds=seconds, **facts)


def _transform_json(alignment: Any) -> str:
    """The alignment as JSON, whether it is kept as JSON text already or as a tree of numbers and arrays."""
    return alignment if isinstance(alignment, str) else json.dumps(_plain(alignment), indent=1)


def _truth_json(truth: Any) -> str:
    """What was put into a simulated sample; the true place of every pixel is in obsm['true_st_xy'] of sm.h5ad."""
    facts = {
        "rotation_deg": truth.rotation_deg,
        "flip": truth.flip,
        "pixel_um": list(truth.pixel_um),
        "warp": truth.warp,
        "domains": truth.domains.to_dict(orient="index"),
    }
    return json.dumps(_plain(facts), indent=1, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """*value* with numpy's arrays and numbers as Python's own."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value
