from __future__ import annotations

import numpy as np
import pytest

from core import keys
from core.errors import ConfigError, DataError
from core.preprocessing import FeaturesConfig, select_features
from core.quality import family_of
from core.reassignment import reassign
from tests.core.pairs import pair


def test_spots_are_removed_and_recorded_and_counts_stay() -> None:
    joint = reassign(*pair())
    total = joint.obs[keys.N_COUNTS]
    limit = float(np.percentile(total, 20))
    found = select_features(joint, FeaturesConfig(min_counts=limit))
    kept = total >= limit
    assert found.obs_names.tolist() == joint.obs_names[kept].tolist()
    assert (found.X != joint[kept.to_numpy()].X).nnz == 0
    report = found.uns[keys.UNS][keys.QUALITY_CONTROL]
    assert (report["n_before"], report["n_removed"]) == (joint.n_obs, int((~kept).sum()))
    assert report["removed"].tolist() == joint.obs_names[~kept].tolist()
    assert set(report["reason"]) == {f"counts below {limit:g}"}


def test_each_threshold_looks_at_its_own_column() -> None:
    joint = reassign(*pair())
    joint.var_names = ["mt-Nd1", *joint.var_names[1:]]
    joint = reassigned = select_features(joint)  # writes the mitochondrial share of the new name
    columns = {
        "min_counts": keys.N_COUNTS, "min_genes": keys.N_GENES, "max_mito_share": keys.MITO_SHARE,
        "min_sm_total": keys.SM_TOTAL, "min_sm_mean": keys.SM_MEAN, "min_metabolites": keys.N_METABOLITES,
    }  # fmt: skip
    for setting, column in columns.items():
        values = joint.obs[column].to_numpy()
        middle = float(np.median(values))
        found = select_features(reassigned, FeaturesConfig(**{setting: middle}))
        expected = values <= middle if setting.startswith("max") else values >= middle
        assert found.n_obs == expected.sum(), setting


def test_families_by_human_and_mouse_names() -> None:
    told = {
        "MT": "MT-CO1 mt-Nd1",
        "RPL": "RPL3 Rplp0 Rpl36al Rpl13a-ps1 RPL22L1",
        "RPS": "Rps27a RPSA RPS4Y1 RPS27L",
        "HSP": "HSPA1A Hsp90ab1",
        "DNAJ": "DNAJB1",
        "": "MTOR RPS6KA1 Gad1 RPS19BP1 Mt1",
    }
    names = np.array(" ".join(told.values()).split())
    found = family_of(names, ("MT", "RPL", "RPS", "HSP", "DNAJ"))
    assert found.tolist() == [family for family, genes in told.items() for _ in genes.split()]
    with pytest.raises(ConfigError, match="XYZ"):
        family_of(names, ("XYZ",))


def test_families_are_left_out_with_their_reason() -> None:
    joint = reassign(*pair())
    joint.var_names = ["Rpl7", "mt-Nd1", *joint.var_names[2:-1], "HSP x"]
    var = select_features(joint, FeaturesConfig(remove_families="rpl, MT,HSP")).var
    assert var.loc["Rpl7", keys.EXCLUDED] == "RPL gene, left out"
    assert var.loc["mt-Nd1", keys.EXCLUDED] == "MT gene, left out"
    assert var.loc["HSP x", keys.SELECTED]  # a metabolite
    pinned = select_features(joint, FeaturesConfig(remove_families="RPL", pinned="Rpl7")).var
    assert pinned.loc["Rpl7", keys.SELECTED]


def test_nothing_left_is_refused() -> None:
    with pytest.raises(DataError, match="quality filters"):
        select_features(reassign(*pair()), FeaturesConfig(min_counts=1e9))
