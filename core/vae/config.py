"""Settings of the integration. This module imports no torch: forms and the command line read it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace

from core.options import option

AUTO = "auto"

#: values of the settings that are left empty, by preset; docs/integration.md has the experiments behind them.
#: The `paper-` presets are the published form: counts in, no neighbours, the authors' weights.
PRESETS: dict[str, dict] = {
    "single": {
        "weight_st": 1.0,
        "weight_sm": 1.0,
        "weight_kl": 1.0,
        "weight_mmd": 0.0,
        "neighbours": 6,
        "weight_agreement": 10.0,
    },
    "multi": {
        "weight_st": 1.0,
        "weight_sm": 1.0,
        "weight_kl": 1.0,
        "weight_mmd": 10.0,
        "neighbours": 6,
        "weight_agreement": 10.0,
    },
    "sm-only": {
        "weight_st": 0.0,
        "weight_sm": 1.0,
        "weight_kl": 1.0,
        "weight_mmd": 0.0,
        "neighbours": 6,
        "weight_agreement": 10.0,
    },
    "paper-single": {
        "weight_st": 5.0,
        "weight_sm": 1.0,
        "weight_kl": 0.5,
        "weight_mmd": 0.0,
        "neighbours": 0,
        "weight_agreement": 0.0,
    },
    "paper-multi": {
        "weight_st": 8.0,
        "weight_sm": 2.0,
        "weight_kl": 1.0,
        "weight_mmd": 10.0,
        "neighbours": 0,
        "weight_agreement": 0.0,
    },
}


@dataclass(frozen=True)
class IntegrateConfig:
    """What the conditional VAE learns and how. Empty weights are taken from the preset."""

    preset: str = option(
        AUTO,
        "starting values of all settings left empty; auto looks at the data (one sample, several, metabolites only)",
        choices=(AUTO, *PRESETS),
    )
    n_latent: int = option(10, "dimensions of the joint embedding", minimum=1, maximum=512, label="Latent dimensions")
    epochs: int = option(64, "passes over all spots", minimum=1, maximum=10_000)
    batch_size: int = option(128, "spots per gradient step", unit="spots", minimum=1, maximum=65_536)
    learning_rate: float = option(2e-3, "step size of Adam", minimum=1e-7, maximum=1.0)
    weight_st: float | None = option(None, "weight of the gene reconstruction", minimum=0.0, label="Weight of ST")
    weight_sm: float | None = option(None, "weight of the metabolite reconstruction", minimum=0.0, label="Weight of SM")
    weight_kl: float | None = option(
        None, "weight of the KL divergence to the prior", minimum=0.0, label="Weight of KL"
    )
    weight_mmd: float | None = option(
        None, "weight of the agreement (MMD) between samples", minimum=0.0, label="Weight of MMD"
    )
    neighbours: int | None = option(
        None,
        "nearest spots whose mean joins the encoder's input; 0: each spot alone",
        unit="spots",
        minimum=0,
        maximum=200,
    )
    neighbour_weight: float = option(
        0.5, "share of the neighbours' mean in the encoder's input", minimum=0.0, maximum=1.0, advanced=True
    )
    batch_keys: str = option(
        "sample",
        "obs columns of the batch effects to remove, separated by commas; columns with one level do nothing",
        label="Batch columns",
    )
    correct_to: str = option(
        "", "level of the first batch column that the reconstruction is corrected to; empty: the mean batch"
    )
    sm_likelihood: str = option(
        "gaussian", "error model of the metabolites", choices=("gaussian", "mse"), label="SM likelihood"
    )
    normalize_sm: bool = option(
        True, "use normalised metabolite intensities; off: intensities as measured", label="Normalise SM"
    )
    shared_decoders: bool = option(
        True, "decode the joint and the single embeddings with the same decoders", advanced=True
    )
    reconstruct: bool = option(True, "write the denoised values (memory: 4 to 8 bytes a spot and selected feature)")
    seed: int = option(0, "seed of all random numbers", minimum=0, maximum=2**31 - 1)
    device: str = option(AUTO, "where to calculate", choices=(AUTO, "cpu", "cuda", "mps"))
    n_hidden: int = option(128, "units of a hidden layer", minimum=1, maximum=8192, advanced=True, label="Hidden units")
    n_layers: int = option(
        1, "hidden layers of each encoder and decoder", minimum=1, maximum=8, advanced=True, label="Hidden layers"
    )
    dropout: float = option(0.1, "share of encoder units left out at random", minimum=0.0, maximum=0.9, advanced=True)
    st_input: str = option(
        "log1p_rate",
        "gene values that the encoder sees: log of counts, or of counts over the spot's total",
        choices=("log1p", "log1p_rate"),
        advanced=True,
        label="ST input",
    )
    sm_input: str = option(
        "log1p_standardize",
        "metabolite values that the model sees: standardised, or log first",
        choices=("standardize", "log1p_standardize"),
        advanced=True,
        label="SM input",
    )
    dispersion: str = option(
        "gene", "ZINB dispersion: one per gene, or decoded per spot", choices=("gene", "spot"), advanced=True
    )
    weight_single: float = option(
        1.0,
        "weight of reconstructing from one modality alone, against the joint",
        minimum=0.0,
        advanced=True,
        label="Weight of single modalities",
    )
    weight_agreement: float | None = option(
        None,
        "weight of the single embeddings being what one modality tells of the joint",
        minimum=0.0,
        advanced=True,
        label="Weight of agreement",
    )
    kl_warmup_epochs: int = option(
        16, "epochs over which the KL weight grows to its full value", minimum=0, advanced=True, label="KL warm-up"
    )
    validation: float = option(
        0.1, "share of spots kept aside to see when to stop; 0: train on all", minimum=0.0, maximum=0.5, advanced=True
    )
    patience: int = option(
        16, "epochs without improvement on the validation share before stopping", minimum=1, advanced=True
    )
    checkpoint_epochs: int = option(4, "epochs between checkpoints", minimum=1, advanced=True, label="Checkpoint every")

    @property
    def batch_columns(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.batch_keys.split(",") if name.strip())


def resolve(config: IntegrateConfig, *, n_samples: int, has_st: bool, has_spatial: bool) -> IntegrateConfig:
    """*config* with no empty field: the preset chosen by the data where it is auto, its values where they are empty
    (no neighbours where there are no coordinates)."""
    preset = config.preset
    if preset == AUTO:
        preset = ("multi" if n_samples > 1 else "single") if has_st else "sm-only"
    empty = {f.name for f in fields(config) if getattr(config, f.name) is None}
    values = dict(PRESETS[preset]) | ({} if has_spatial else {"neighbours": 0, "weight_agreement": 0.0})
    return replace(config, preset=preset, **{k: v for k, v in values.items() if k in empty})


def as_plain(config: IntegrateConfig) -> dict:
    """*config* as a mapping of plain values, for files."""
    return asdict(config)
