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
from core.io.archives import ungzipped
from core.io.h5ad import mz_of_features
from core.io.imzml import is_imzml
from core.io.text import read_text, write_text
from core.options import from_mapping
from core.pipeline import history, run_concat, run_encode, run_step
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
    if given.step == "align":
        _say_what_is_doubtful(result)
    _write(given, result, out)


def joint_step(given: argparse.Namespace) -> None:
    """``features``, ``integrate`` and ``cluster``: a joint object in, a joint object out."""
    config = given.settings.read(given)
    out = _output(given)
    with _reporting(given, given.step) as context:
        joint = _read_joints(given, context)
        if getattr(given, "checkpoints", None):
            context.checkpoints = Path(given.checkpoints)
        if given.step == "integrate" and keys.SELECTED not in joint.var:
            joint = run_step("features", {"joint": joint}, None, context.part("features", 0.0, 0.1))
            context.part("integrate", 0.1, 0.9)
        result = run_step(given.step, {"joint": joint}, config, context)
    _write(given, result, out)


def encode(given: argparse.Namespace) -> None:
    """A trained model and a joint object in, the object with the model's embeddings out."""
    from core.vae import load

    out = _output(given)
    if not Path(given.model).is_file():
        raise DataError("a model.pt that integrate has written", found=f"no file {given.model}")
    model, joint = load(Path(given.model)), io.read_h5ad(given.joint)
    with _reporting(given, "encode"):
        placed = run_encode(model, joint)
    _say_what_is_not_shifted(placed, model.shifts)
    _write(given, placed, out)


def _say_what_is_not_shifted(placed: AnnData, shifts: Any) -> None:
    for name in placed.uns[keys.UNS][keys.ENCODED]["not_shifted"]:
        warn(
            f"the training did not have {f'sample {name}' if name else 'a sample without a name'} (it had "
            f"{', '.join(shifts.samples)}): it is not shifted and keeps its batch effect. Name it as the training did "
            f"in obs['{keys.SAMPLE}'] where it is one of those, else integrate again with it."
        )


def concat(given: argparse.Namespace) -> None:
    """Several joint objects in, one with their common features out."""
    out = _output(given)
    with _reporting(given, "concat") as context:
        joined = _read_joints(given, context)
    _say_what_is_lost(joined)
    _write(given, joined, out)


def polarity(given: argparse.Namespace) -> None:
    """Both ion modes of one section as one SM section."""
    out = _output(given)
    with _reporting(given, "polarity"):
        merged = _read_sm(given, 0)
    _write(given, merged, out)


def run(given: argparse.Namespace) -> None:
    """All steps, from one or several raw pairs to clusters; several are joined after their reassignment."""
    _heed_orientation(given)
    configs = {name: settings.read(given) for name, settings in given.settings.items()}
    out = _output(given)
    if len(given.st) != len(given.sm):
        raise DataError("as many --sm as --st files", found=f"{len(given.st)} and {len(given.sm)}")
    if len(given.st) > 1 and configs["align"].landmarks:
        raise DataError("no landmarks for several pairs", found="--landmarks", mend="Align each pair by itself.")
    pairs = list(_read_pairs(given))
    names = _sample_names([st for st, _ in pairs], given.st)
    joints: dict[str, AnnData] = {}
    with _reporting(given, "run") as context:
        for i, (name, objects) in enumerate(zip(names, pairs, strict=True)):
            joints[name], aligned = _run_pair(objects, configs, context, part=(i, len(pairs)))
        joint = next(iter(joints.values()))
        if len(joints) > 1:
            joint = run_concat(joints, _concat_config(given))
            _say_what_is_lost(joint)
        done = SHARES["align"] + SHARES["reassign"]
        for name in ("features", "integrate", "cluster"):
            joint = run_step(name, {"joint": joint}, configs[name], context.part(name, done, SHARES[name]))
            done += SHARES[name]
    _write(given, joint, out, aligned if len(joints) == 1 else None)


def _run_pair(
    pair: tuple[AnnData, AnnData], configs: dict[str, Any], context: TerminalContext, *, part: tuple[int, int]
) -> tuple[AnnData, AnnData]:
    """Align and reassign one pair: the joint object and the aligned SM section."""
    number, of = part
    st, sm = pair
    start = (SHARES["align"] + SHARES["reassign"]) * number / of
    context.part("align", start, SHARES["align"] / of)
    sm = run_step("align", {"st": st, "sm": sm}, _with_landmarks(configs["align"], st), context)
    _warn_of(io.check_pair(st, sm, aligned=True))
    context.part("reassign", start + SHARES["align"] / of, SHARES["reassign"] / of)
    return run_step("reassign", {"st": st, "sm": sm}, configs["reassign"], context), sm


def _read_joints(given: argparse.Namespace, context: TerminalContext) -> AnnData:
    """The joint object of the command line, joined where there are several."""
    paths = given.joint if isinstance(given.joint, list) else [given.joint]
    joints = [_read_joint(path, given) for path in paths]
    if len(joints) == 1:
        return joints[0]
    names = [n.strip() for n in given.names.split(",")] if given.names else _sample_names(joints, paths)
    if len(names) != len(joints):
        raise DataError("one name for each file", found=f"{len(names)} names for {len(joints)} files")
    if len(set(names)) < len(names):
        raise DataError("a name of its own for each sample", found=", ".join(names), mend="Give others by --names.")
    return run_concat(dict(zip(names, joints, strict=True)), _concat_config(given), context)


def _read_joint(path: str, given: argparse.Namespace) -> AnnData:
    """A joint object, or where ``--section`` says so a section alone, which is checked as one."""
    section = getattr(given, "section", None)
    if section is None:
        return io.read_h5ad(path)
    if section == "st":
        st = io.read_st(path, image=given.image, image_scale=given.image_scale)
        _warn_of(io.check_st(st))
        return st
    sm = io.read_sm(path, ibd=given.ibd, spatial_key=given.sm_spatial_key)
    _warn_of(io.check_sm(sm))
    return sm


def _concat_config(given: argparse.Namespace) -> Any:
    from core.joining import ConcatConfig

    ppm = given.mz_tolerance_ppm
    return from_mapping(ConcatConfig, {} if ppm is None else {"mz_tolerance_ppm": ppm})


def _sample_names(sections: list[AnnData], paths: list[str]) -> list[str]:
    """The samples' own names where they have different ones, else those of the files, else of their folders."""
    own = []
    for section in sections:
        labels = section.obs[keys.SAMPLE].astype(str).unique() if keys.SAMPLE in section.obs else []
        libraries = list(section.uns.get(keys.UNS_SPATIAL, {}))
        named = labels if len(labels) == 1 else libraries
        own.append(str(named[0]) if len(named) == 1 else "")
    stems, folders = [Path(p).stem for p in paths], [Path(p).resolve().parent.name for p in paths]
    for names in (own, stems, folders):
        if all(names) and len(set(names)) == len(names):
            return names
    return [f"sample{i + 1}" for i in range(len(sections))]


def _say_what_is_lost(joined: AnnData) -> None:
    for sample, entry in joined.uns.get(keys.UNS, {}).get(keys.JOINED, {}).items():
        if len(entry["lost"]):
            few = ", ".join(list(entry["lost"])[:5])
            warn(f"{sample} loses {len(entry['lost'])} features that not all samples have: {few} …")


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


def _say_what_is_doubtful(aligned: AnnData) -> None:
    about = aligned.uns[keys.UNS][keys.ALIGNMENT]
    if about["note"]:
        warn(about["note"])
    found = about["orientation"]
    if found["ambiguous"] and isinstance(found["runner_up_rotation_deg"], float):
        flip = " --flip" if found["runner_up_flip"] else ""
        warn(
            f"Another orientation fits nearly as well (confidence {100 * found['confidence']:.0f} %). To compare, run "
            f"again with --rotation-deg {found['runner_up_rotation_deg']:.1f}{flip} and another --out."
        )


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
    return next(_read_pairs(given, aligned=aligned))


def _read_pairs(given: argparse.Namespace, *, aligned: bool = False) -> Iterator[tuple[AnnData, AnnData]]:
    """Each pair of --st and --sm, checked."""
    for i, path in enumerate(_several(given.st)):
        st = io.read_st(path, image=_nth(given.image, i), image_scale=given.image_scale)
        _warn_of(io.check_st(st))
        sm = _read_sm(given, i)
        _warn_of(io.check_sm(sm))
        _warn_of(io.check_pair(st, sm, aligned=aligned))
        yield st, sm


def _read_sm(given: argparse.Namespace, i: int) -> AnnData:
    """The SM section number *i*, of both ion modes where there is a file of the negative one."""
    sm = io.read_sm(_nth(given.sm, i), ibd=_nth(given.ibd, i), spatial_key=given.sm_spatial_key)
    negative = _nth(given.sm_negative, i)
    if negative is None:
        return sm
    from core.polarity import merge_polarities

    merged = merge_polarities(sm, io.read_sm(negative, spatial_key=given.sm_spatial_key))
    found = merged.uns[keys.UNS][keys.POLARITY]
    if found["n_matched"] < max(found["n_positive"], found["n_negative"]):
        warn(f"{found['n_matched']:,} pixels are in both of {found['n_positive']:,} and {found['n_negative']:,}")
    return merged


def _several(given: Any) -> list[str]:
    return given if isinstance(given, list) else [given]


def _nth(given: Any, i: int) -> Any:
    """The file number *i* of an option that may be given once for each pair."""
    files = _several(given)
    return files[i] if i < len(files) else None


def _warn_of(checks: list[io.Check]) -> None:
    """Stop at the first blocking check, name the warnings."""
    for check in checks:
        if check.level == "blocking":
            raise DataError(f"usable data ({check.title.lower()})", found=check.found.rstrip("."), mend=check.mend)
        if check.level == "warning":
            warn(f"{check.title}: {check.found} {check.mend}")


def _read_any(given: argparse.Namespace) -> tuple[str, AnnData]:
    """What the file is ('st', 'sm' or 'joint') and its content."""
    with ungzipped(Path(given.file)) as path:
        kind = _kind_of(path) if given.kind == "auto" else given.kind
        if kind == "joint":
            return kind, io.read_h5ad(path)
        if kind == "sm":
            return kind, io.read_sm(path, ibd=given.ibd, spatial_key=given.sm_spatial_key)
        return kind, io.read_st(path, image=given.image, image_scale=given.image_scale)


def _kind_of(path: Path) -> str:
    name = path.name.lower()
    if name.endswith((".csv", ".tsv", ".txt")) or is_imzml(path):
        return "sm"
    if not name.endswith(".h5ad"):
        return "st"
    var = io.read_h5ad(path).var
    types = set(var[keys.TYPE].astype(str)) if keys.TYPE in var else set()
    if types == {keys.ST, keys.SM}:
        return "joint"
    if types & {keys.ST, keys.SM}:
        return "sm" if keys.SM in types else "st"
    return "sm" if keys.MZ in var or np.isfinite(mz_of_features(var)).mean() > 0.5 else "st"


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
        io.write_alignment(alignment, beside)
        written["transform"] = str(beside)
    facts = {"n_obs": result.n_obs, "n_vars": result.n_vars, "history": history(result)}
    seconds = round(time.perf_counter() - given.started, 2)
    sentence = f"wrote {', '.join(written.values())}: {result.n_obs:,} x {result.n_vars:,}, {seconds:g} s"
    answer(given, sentence, **written, seconds=seconds, **facts)


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
