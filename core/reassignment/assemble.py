"""The joint object: ST and SM on common places."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from core import keys
from core.context import Context
from core.errors import DataError
from core.feature_table import joint_var
from core.options import check
from core.provenance import merge_histories
from core.quality import counts_of, write_quality
from core.reassignment.plan import Plan, ReassignConfig, plan
from core.spatial.scale import um_per_px

if TYPE_CHECKING:  # the web process reads the Configs and must stay free of anndata and pandas
    import pandas as pd
    from anndata import AnnData

#: modality -> obs columns with the number of its sources and their mean distance
SOURCES = {
    keys.ST: (keys.N_ST_SPOTS, keys.MEAN_ST_DISTANCE_UM),
    keys.SM: (keys.N_PIXELS, keys.MEAN_PIXEL_DISTANCE_UM),
}


def reassign(st: AnnData, sm: AnnData, config: ReassignConfig | None = None, context: Context | None = None) -> AnnData:
    """The joint object: rows are ST spots, SM pixels or points of a grid; columns genes then metabolites.

    ``X`` and ``layers['counts']`` (float32 CSR) hold the ST counts, exactly as measured where they stay on their spots
    and never rounded where they move, and the averaged SM intensities. obs of the section whose places are taken and
    uns of ST are carried; obs says what a row took (``n_sm_pixels``, ``sm_pixel_distance_um``, ``n_st_spots``,
    ``st_spot_distance_um``) and its quality; ``uns['spatialmeta']['reassignment']`` has coverage and totals.

    Raises
    ------
    DataError
        When coordinates are missing or nothing lies within reach.
    """
    from anndata import AnnData

    config, context = check(config or ReassignConfig()), context or Context()
    for name, section in (("ST", st), ("SM", sm)):
        if keys.SPATIAL not in section.obsm:
            raise DataError(f"coordinates of the {name} section in obsm['spatial']", found=f"{sorted(section.obsm)}")
    context.progress(0.1, "finding the nearest pixels")
    um, source = _scale(st)
    sections = {keys.ST: st, keys.SM: sm}
    xy = {m: np.asarray(section.obsm[keys.SPATIAL])[:, :2] for m, section in sections.items()}
    found = plan(xy[keys.ST], xy[keys.SM], config, um_per_px=um)
    if not found.covered.any():
        raise DataError(
            f"SM pixels within {found.reach:.0f} px of an ST spot",
            found="none",
            mend="Align the sections first, or raise the distance factor.",
        )
    context.stop_if_cancelled()
    context.progress(0.4, "averaging intensities")
    rows = np.flatnonzero(found.kept)
    before = {m: sparse.csr_matrix(counts_of(section), dtype=np.float64) for m, section in sections.items()}
    after = {m: _moved(found, m, values, rows) for m, values in before.items()}
    X = sparse.hstack([after[m].astype(np.float32) for m in (keys.ST, keys.SM)], format="csr")
    context.stop_if_cancelled()
    context.progress(0.8, "assembling the joint object")
    var, renamed = joint_var(st.var, sm.var)
    joint = AnnData(X=X, obs=_obs(sections, found, config, rows, um), var=var, layers={keys.COUNTS: X.copy()})
    joint.obsm[keys.SPATIAL] = np.asarray(found.xy, dtype=np.float64)[rows]
    write_quality(joint)
    report = _report(found, config, um, before, after) | {"renamed": np.array(renamed, dtype=str)}
    _write_uns(joint, sections, report)
    joint.uns[keys.UNS] |= {keys.UM_PER_PX: um, keys.UM_PER_PX_SOURCE: source}
    if config.direction != "sm-to-st":
        _resize_spots(joint)
    context.progress(1.0, f"{report['n_spots_covered']} of {report['n_spots']} places have both modalities")
    return joint


def _moved(found: Plan, modality: str, values: sparse.csr_matrix, rows: np.ndarray) -> sparse.csr_matrix:
    weights = found.weights[modality]
    return sparse.csr_matrix(values[rows] if weights is None else weights[rows] @ values)


def _scale(st: AnnData) -> tuple[float, str]:
    """µm per pixel and where it comes from: as the reader recorded it, else found from the section."""
    ours = st.uns.get(keys.UNS, {})
    if keys.UM_PER_PX in ours:
        return float(ours[keys.UM_PER_PX]), str(ours.get(keys.UM_PER_PX_SOURCE, "recorded without a source"))
    return um_per_px(st)


def _obs(
    sections: dict[str, AnnData], found: Plan, config: ReassignConfig, rows: np.ndarray, um: float
) -> pd.DataFrame:
    """obs of the section whose places are taken (none of a grid), the sample, and what each row took."""
    import pandas as pd

    st = sections[keys.ST]
    if config.direction == "grid":
        obs = pd.DataFrame(index=[f"grid{row}" for row in rows])
    else:
        obs = (st if config.direction == "sm-to-st" else sections[keys.SM]).obs.iloc[rows].copy()
    if keys.SAMPLE not in obs:
        obs[keys.SAMPLE] = pd.Categorical([_sample_name(st)] * len(obs))
    for modality, (count, distance) in SOURCES.items():
        if found.weights[modality] is not None:
            obs[count] = found.count(modality)[rows].astype(np.int64)
            obs[distance] = found.mean_distance(modality)[rows] * um
    return obs


def _sample_name(st: AnnData) -> str:
    if keys.SAMPLE in st.obs and st.obs[keys.SAMPLE].nunique() == 1:
        return str(st.obs[keys.SAMPLE].iloc[0])
    libraries = list(st.uns.get(keys.UNS_SPATIAL, {}))
    return libraries[0] if len(libraries) == 1 else "sample"


def _report(
    found: Plan,
    config: ReassignConfig,
    um: float,
    before: dict[str, sparse.csr_matrix],
    after: dict[str, sparse.csr_matrix],
) -> dict[str, object]:
    """Coverage as plain numbers; ``pixels_per_spot[i]`` is the number of places that took i sources."""
    moved = keys.SM if found.weights[keys.SM] is not None else keys.ST
    per_place = found.count(moved)
    report: dict[str, object] = {
        "direction": config.direction,
        "n_spots": len(found.xy),
        "n_spots_covered": int(found.covered.sum()),
        "n_spots_uncovered": int((~found.covered).sum()),
        "n_spots_kept": int(found.kept.sum()),
        "reach_um": float(found.reach * um),
        "pixels_per_spot": np.bincount(per_place),
    }
    for modality, noun, quantity in ((keys.SM, "pixels", "intensity"), (keys.ST, "st_spots", "counts")):
        weights, values = found.weights[modality], before[modality]
        # what a place that is left out took is not used
        used = np.flatnonzero(found.kept) if weights is None else np.unique(weights[np.flatnonzero(found.kept)].indices)
        report |= {
            f"n_{noun}": values.shape[0],
            f"n_{noun}_used": len(used),
            f"total_{quantity}_before": float(values.sum()),
            f"total_{quantity}_of_used_{noun}": float(values[used].sum()),
            f"total_{quantity}_after": float(after[modality].sum()),
        }
    return report


def _write_uns(joint: AnnData, sections: dict[str, AnnData], report: dict[str, object]) -> None:
    st, sm = sections[keys.ST], sections[keys.SM]
    if keys.UNS_SPATIAL in st.uns:
        joint.uns[keys.UNS_SPATIAL] = st.uns[keys.UNS_SPATIAL]
    ours, theirs = st.uns.get(keys.UNS, {}), sm.uns.get(keys.UNS, {})
    merged = {name: ours[name] for name in ours if name != keys.HISTORY}
    if keys.ALIGNMENT in theirs:
        merged[keys.ALIGNMENT] = theirs[keys.ALIGNMENT]
    merged[keys.REASSIGNMENT] = report
    joint.uns[keys.UNS] = merged
    merge_histories(joint, [st, sm])


def _resize_spots(joint: AnnData) -> None:
    """scanpy and squidpy draw spots as wide as the scale factors say: the new places' distance."""
    from core.spatial import smallest_distance

    joint.uns[keys.UNS_SPATIAL] = copy.deepcopy(joint.uns.get(keys.UNS_SPATIAL, {}))
    for entry in joint.uns[keys.UNS_SPATIAL].values():
        if "scalefactors" in entry and joint.n_obs > 1:
            entry["scalefactors"]["spot_diameter_fullres"] = smallest_distance(joint.obsm[keys.SPATIAL])
