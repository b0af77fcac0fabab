"""Names of all AnnData slots that this project reads or writes, each once.

``docs/anndata.md`` explains them; a saved file opens in plain scanpy, squidpy and CELLxGENE.
"""

from __future__ import annotations

# var
TYPE = "type"  # 'ST' or 'SM'
ST = "ST"
SM = "SM"
MZ = "mz"  # float, NaN where a metabolite has only a name
POLARITY = "polarity"
ADDUCT = "adduct"
ANNOTATION = "annotation"
GENE_IDS = "gene_ids"
SYMBOL = "symbol"
MORANS_I = "morans_i"
MORANS_P = "morans_p"
MORANS_FDR = "morans_fdr"
SELECTED = "selected"  # bool: feature goes into the CVAE
RANK = "rank"  # 1 is the highest Moran's I of its modality; 0 where there is none (constant feature)
EXCLUDED = "excluded"  # why a feature is not selected; '' where it is
N_SPOTS = "n_spots"  # spots with a value above zero
N_VARIABLE = "n_variable"  # samples in which a feature is among the most spatially variable
BATCH_LOGFC = "batch_logfc"  # largest log2 fold change of one sample against the others
BATCH_SAMPLE = "batch_sample"  # the sample of that fold change

# layers
COUNTS = "counts"  # raw counts (ST) and raw intensities (SM), float32 CSR; X holds the same
NORMALIZED = "normalized"
RECONSTRUCTION = "reconstruction"

# obs
SAMPLE = "sample"
LEIDEN = "leiden"
CONTRIBUTION = {ST: "contribution_st", SM: "contribution_sm"}
N_COUNTS = "n_counts"  # quality of a spot: counts, genes and mitochondrial share of ST …
N_GENES = "n_genes"
MITO_SHARE = "mito_share"
SM_TOTAL = "sm_total"  # … total and mean intensity, and metabolites of SM
SM_MEAN = "sm_mean"
N_METABOLITES = "n_metabolites"
N_PIXELS = "n_sm_pixels"  # SM pixels averaged into this spot
MEAN_PIXEL_DISTANCE_UM = "sm_pixel_distance_um"
N_ST_SPOTS = "n_st_spots"  # ST spots whose counts this pixel or grid point got
MEAN_ST_DISTANCE_UM = "st_spot_distance_um"
N_SOURCES = {ST: N_ST_SPOTS, SM: N_PIXELS}  # 0: this place has no value of that modality

# obsm
SPATIAL = "spatial"  # full-resolution image pixels [x, y], y down
SPATIAL_RAW = "spatial_raw"  # SM before alignment, as measured
SPATIAL_LAYOUT = "spatial_layout"  # several samples side by side, on the scale of the first
X_EMB = "X_emb"
X_EMB_MODALITY = {ST: "X_emb_st", SM: "X_emb_sm"}
X_UMAP = "X_umap"

# uns
UNS_SPATIAL = "spatial"  # as scanpy and squidpy read it
UNS = "spatialmeta"
HISTORY = "history"
ALIGNMENT = "alignment"
REASSIGNMENT = "reassignment"  # coverage and totals before and after
QUALITY_CONTROL = "quality_control"  # spots that were filtered out, and why
JOINED = "joined"  # samples of a joint object: names, features lost, place in the layout
TARGET_SUMS = "target_sums"  # what each modality is normalised to
TRAINING = "training"
ENCODED = "encoded"  # by a model that was trained before: samples that it does not know
REGIONS = "regions"
CATEGORIES = "categories"  # what columns were before people renamed and recoloured their categories
TRAJECTORIES = "trajectories"
UM_PER_PX = "um_per_px"
UM_PER_PX_SOURCE = "um_per_px_source"

# files
MODEL_FILE = "model.pt"  # the trained model, beside the result of its training


def of_sample(column: str, sample: str) -> str:
    """var column of one sample of several, e.g. its Moran's I."""
    return f"{column}_{slug(sample)}"


def roi(group: str) -> str:
    """obs column of a region group."""
    return f"roi_{slug(group)}"


def toi_position(name: str) -> str:
    """obs column with the position along a trajectory, in µm."""
    return f"toi_{slug(name)}_position_um"


def toi_distance(name: str) -> str:
    """obs column with the distance from a trajectory, in µm."""
    return f"toi_{slug(name)}_distance_um"


def slug(name: str) -> str:
    """*name* as it may stand in an AnnData key: letters, digits, underscores; '/' would split an HDF5 path."""
    kept = "".join(c if c.isalnum() else "_" for c in name.strip())
    while "__" in kept:
        kept = kept.replace("__", "_")
    return kept.strip("_").lower() or "unnamed"
