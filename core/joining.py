"""Several samples as one joint object: common features, one sample column, every image kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from core import keys
from core.context import Context
from core.errors import DataError
from core.options import check, option
from core.provenance import merge_histories
from core.quality import counts_of, write_quality
from core.spatial.scale import um_per_px

if TYPE_CHECKING:  # the web process reads the Configs and must stay free of anndata and pandas
    import pandas as pd
    from anndata import AnnData

#: gap between two samples of the layout, as a share of the widest
GAP = 0.15
#: part of an image beside the spots that the layout leaves room for, as a share of the spots' own extent
IMAGE_AROUND = 0.5
#: longer side of the white image of a sample that has none, pixels
BLANK = 200
#: var columns that are of a single sample or of a choice made for it
OF_ONE_SAMPLE = (
    keys.MORANS_I, keys.MORANS_P, keys.MORANS_FDR, keys.SELECTED, keys.RANK, keys.EXCLUDED, keys.N_SPOTS,
    keys.N_VARIABLE, keys.BATCH_LOGFC, keys.BATCH_SAMPLE,
)  # fmt: skip


@dataclass(frozen=True)
class ConcatConfig:
    """Settings of :func:`concat`."""

    mz_tolerance_ppm: float = option(
        0.0,
        "metabolites of other names are the same within this m/z difference; 0: by name alone",
        unit="ppm",
        minimum=0.0,
        maximum=1000.0,
        label="m/z tolerance",
    )


def concat(
    joints: Mapping[str, AnnData], config: ConcatConfig | None = None, context: Context | None = None
) -> AnnData:
    """The rows of all *joints* (name of the sample -> joint object) with the features that all of them have.

    Writes ``obs['sample']``; ``uns['spatial'][sample]`` keeps each image, ``obsm['spatial']`` its own full-resolution
    pixels, as squidpy reads them (``library_key='sample'``); where some samples have an image, one without gets a white
    one with ``metadata['blank']``. ``obsm['spatial_layout']`` has the samples side by side,
    on the scale of the first, which is what maps and drawings use. ``uns['spatialmeta']['joined'][sample]`` has
    ``n_spots``, the features ``lost``, ``um_per_px``, and ``scale, x, y`` of the layout:
    ``spatial_layout = scale * spatial + [x, y]``. An object that has several samples already keeps their names.

    Raises
    ------
    DataError
        Fewer than two objects, a name that two samples share, or a modality without a common feature.
    """
    from anndata import AnnData

    config, context = check(config or ConcatConfig()), context or Context()
    if len(joints) < 2:
        raise DataError("at least two samples to join", found=str(len(joints)))
    for name, joint in joints.items():
        _check_one(name, joint)
    named = {name: _with_sample(joint, name) for name, joint in joints.items()}
    context.progress(0.1, "matching features")
    var, columns, lost = common_features({n: j.var for n, j in named.items()}, ppm=config.mz_tolerance_ppm)
    context.stop_if_cancelled()
    X = sparse.vstack(
        [sparse.csr_matrix(counts_of(j), dtype=np.float32)[:, columns[n]] for n, j in named.items()], format="csr"
    )
    context.progress(0.6, "assembling the joint object")
    joined = AnnData(X=X, obs=_obs(named), var=var, layers={keys.COUNTS: X.copy()})
    joined.obsm[keys.SPATIAL] = np.concatenate([np.asarray(j.obsm[keys.SPATIAL])[:, :2] for j in named.values()])
    write_quality(joined)
    libraries = {k: v for name, j in named.items() for k, v in _libraries(j, name).items()}
    samples = _lay_out(joined, named, lost, libraries)
    joined.uns[keys.UNS_SPATIAL] = _one_for_each(libraries, joined, samples)
    first = next(iter(samples.values()))
    source = f"that of {next(iter(samples))}"
    joined.uns[keys.UNS] = {
        keys.JOINED: samples, keys.UM_PER_PX: first["um_per_px"], keys.UM_PER_PX_SOURCE: source,
    }  # fmt: skip
    merge_histories(joined, joints.values())
    context.progress(1.0, f"{joined.n_obs:,} spots of {len(samples)} samples, {joined.n_vars:,} common features")
    return joined


def _check_one(name: str, joint: AnnData) -> None:
    if keys.TYPE not in joint.var or keys.SPATIAL not in joint.obsm:
        raise DataError(f"a joint object for {name}", found="a single section", mend="Reassign each pair first.")
    if not joint.var_names.is_unique:
        raise DataError(f"unique feature names in {name}", found="names that occur twice")


def _with_sample(joint: AnnData, name: str) -> AnnData:
    """A view of *joint* as a copy of its tables whose obs['sample'] is *name*, where it is one sample."""
    own = joint.copy()
    if keys.SAMPLE not in own.obs or own.obs[keys.SAMPLE].nunique() < 2:
        own.obs[keys.SAMPLE] = clean(name)
    return own


def clean(name: str) -> str:
    """A sample's name as it may be a key of uns."""
    return name.replace("/", "_").strip() or "sample"


def common_features(
    tables: Mapping[str, pd.DataFrame], *, ppm: float = 0.0
) -> tuple[pd.DataFrame, dict[str, np.ndarray], dict[str, list[str]]]:
    """The features that all samples have: the first one's table, each sample's columns, and the names each loses.

    The same feature has the same name and type; with *ppm* above 0 also metabolites of other names whose m/z are each
    other's nearest within that tolerance, and of the same polarity where both know it.
    """
    names = list(tables)
    first = tables[names[0]]
    at = {names[0]: np.arange(len(first))}
    for name in names[1:]:
        at[name] = _positions(first, tables[name], ppm)
    shared = np.logical_and.reduce([positions >= 0 for positions in at.values()])
    for modality in sorted(set(first[keys.TYPE].astype(str))):
        if not shared[(first[keys.TYPE].astype(str) == modality).to_numpy()].any():
            mend = "Give a tolerance of the m/z." if modality == keys.SM else "Use the same kind of gene names."
            raise DataError(f"{modality} features that all samples have", found="none", mend=mend)
    columns = {name: positions[shared] for name, positions in at.items()}
    lost = {
        name: [str(f) for f in table.index[np.setdiff1d(np.arange(len(table)), columns[name])]]
        for name, table in tables.items()
    }
    per_sample = [c for c in first if c in OF_ONE_SAMPLE or str(c).startswith(f"{keys.MORANS_I}_")]
    return first[shared].drop(columns=per_sample).copy(), columns, lost


def _positions(first: pd.DataFrame, other: pd.DataFrame, ppm: float) -> np.ndarray:
    """Row of *other* for each row of *first*, -1 where there is none."""
    at = other.index.get_indexer(first.index)
    types = first[keys.TYPE].astype(str).to_numpy(), other[keys.TYPE].astype(str).to_numpy()
    at[(at >= 0) & (types[0] != types[1][at])] = -1
    if ppm <= 0 or keys.MZ not in first or keys.MZ not in other:
        return at
    mz = [np.where(t == keys.SM, table[keys.MZ].to_numpy(dtype=float), np.nan)
          for t, table in zip(types, (first, other), strict=True)]  # fmt: skip
    free = np.flatnonzero((at < 0) & np.isfinite(mz[0]))
    rest = np.setdiff1d(np.flatnonzero(np.isfinite(mz[1])), at)
    if not len(free) or not len(rest):
        return at
    apart = np.abs(mz[0][free][:, None] - mz[1][rest]) / mz[0][free][:, None] * 1e6
    if keys.POLARITY in first and keys.POLARITY in other:
        signs = [t[keys.POLARITY].astype(str).to_numpy()[rows] for t, rows in ((first, free), (other, rest))]
        apart[(signs[0][:, None] != signs[1]) & (signs[0] != "")[:, None] & (signs[1] != "")] = np.inf
    to_other, to_first = apart.argmin(axis=1), apart.argmin(axis=0)
    mutual = to_first[to_other] == np.arange(len(free))
    near = apart[np.arange(len(free)), to_other] <= ppm
    at[free[mutual & near]] = rest[to_other[mutual & near]]
    return at


def _obs(named: Mapping[str, AnnData]) -> pd.DataFrame:
    import pandas as pd

    tables = [joint.obs for joint in named.values()]
    levels = [str(s) for table in tables for s in pd.unique(table[keys.SAMPLE].astype(str))]
    if len(set(levels)) < len(levels):
        twice = sorted({s for s in levels if levels.count(s) > 1})
        raise DataError("a name of its own for each sample", found=", ".join(twice), mend="Rename one of them.")
    obs = pd.concat([table.astype({c: object for c in table if _is_text(table[c])}) for table in tables])
    for column in obs:
        if column != keys.SAMPLE and _is_text(obs[column]):
            obs[column] = obs[column].where(obs[column].isna(), obs[column].astype(str)).astype("category")
    if not obs.index.is_unique:
        obs.index = obs.index.astype(str) + "-" + obs[keys.SAMPLE].astype(str)
    obs[keys.SAMPLE] = pd.Categorical(obs[keys.SAMPLE].astype(str), categories=levels)
    return obs


def _is_text(column: pd.Series) -> bool:
    import pandas as pd

    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    return not numeric


def _libraries(joint: AnnData, name: str) -> dict[str, Any]:
    """Images and scale factors under the names of the samples."""
    libraries = dict(joint.uns.get(keys.UNS_SPATIAL, {}))
    samples = set(joint.obs[keys.SAMPLE].astype(str))
    if len(samples) == 1 and len(libraries) == 1:
        return {clean(name): next(iter(libraries.values()))}
    return {library: entry for library, entry in libraries.items() if library in samples}


def _one_for_each(
    libraries: dict[str, Any], joined: AnnData, samples: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """*libraries*, and a white image for each sample that has none where others do: squidpy draws, of all samples,
    only those that have an image."""
    pictured = {name: entry for name, entry in libraries.items() if entry.get("images")}
    if not pictured:
        return libraries
    like, entry = next(iter(pictured.items()))
    found = {}
    for sample, about in samples.items():
        extent = joined.obsm[keys.SPATIAL][(joined.obs[keys.SAMPLE] == sample).to_numpy()].max(axis=0)
        scale = BLANK / extent.max()
        width, height = np.ceil(1.05 * scale * extent).astype(int)
        diameter = entry["scalefactors"].get("spot_diameter_fullres", 0.0)
        factors = {f"tissue_{name}_scalef": float(scale) for name in entry["images"]}
        factors["spot_diameter_fullres"] = float(diameter * samples[like]["um_per_px"] / about["um_per_px"])
        white = np.full((height, width, 3), 255, dtype=np.uint8)
        blank = {"images": dict.fromkeys(entry["images"], white), "scalefactors": factors, "metadata": {"blank": True}}
        found[sample] = pictured.get(sample, blank)
    return found


def _with_image(low: np.ndarray, high: np.ndarray, library: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The box of a sample's spots, *low* to *high* in pixels, with as much of its image as lies within half of the
    box's width around it, so that images of neighbours do not hide each other."""
    for name, image in library.get("images", {}).items():
        scale = float(library.get("scalefactors", {}).get(f"tissue_{name}_scalef", 0.0))
        if scale > 0:
            reach = IMAGE_AROUND * (high - low)
            far = np.array(np.shape(image)[1::-1]) / scale
            return np.clip(0.0, low - reach, low), np.clip(far, high, high + reach)
    return low, high


def _lay_out(
    joined: AnnData, named: Mapping[str, AnnData], lost: dict[str, list[str]], libraries: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Write the layout; returns the entry of each sample in ``uns['spatialmeta']['joined']``."""
    labels = joined.obs[keys.SAMPLE].astype(str).to_numpy()
    boxes: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    entries: dict[str, dict[str, Any]] = {}
    for name, joint in named.items():
        for sample in joint.obs[keys.SAMPLE].astype(str).unique():
            before = joint.uns.get(keys.UNS, {}).get(keys.JOINED, {}).get(sample, {})
            um = float(before.get("um_per_px") or _scale(joint))
            gone = np.array(sorted({*before.get("lost", ()), *lost[name]}), dtype=str)
            entries[sample] = {"n_spots": int((labels == sample).sum()), "lost": gone, "um_per_px": um}
    reference = next(iter(entries.values()))["um_per_px"]
    for sample, entry in entries.items():
        xy = joined.obsm[keys.SPATIAL][labels == sample]
        box = np.stack(_with_image(xy.min(axis=0), xy.max(axis=0), libraries.get(sample, {})))
        boxes[sample] = tuple(entry["um_per_px"] / reference * box)
    cell = np.max([high - low for low, high in boxes.values()], axis=0) * (1 + GAP)
    across = int(np.ceil(np.sqrt(len(boxes))))
    origin = next(iter(boxes.values()))[0]  # the first sample keeps its coordinates
    layout = np.empty((joined.n_obs, 2))
    for i, (sample, (low, _)) in enumerate(boxes.items()):
        scale = entries[sample]["um_per_px"] / reference
        row, column = divmod(i, across)
        x, y = origin + cell * (column, row) - low
        entries[sample] |= {"scale": float(scale), "x": float(x), "y": float(y)}
        layout[labels == sample] = scale * joined.obsm[keys.SPATIAL][labels == sample] + (x, y)
    joined.obsm[keys.SPATIAL_LAYOUT] = layout
    return entries


def _scale(joint: AnnData) -> float:
    ours = joint.uns.get(keys.UNS, {})
    return float(ours[keys.UM_PER_PX]) if keys.UM_PER_PX in ours else um_per_px(joint)[0]
