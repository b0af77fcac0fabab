"""Settings of the integration. This module imports no torch: forms and the command line read it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from core.options import option

AUTO = "auto"

_OURS = {
    "weight_st": 1.0,
    "weight_sm": 1.0,
    "weight_kl": 1.0,
    "weight_mmd": 0.0,
    "weight_agreement": 10.0,
    "contributions": "contrasts",
    "neighbours": 18,
    "neighbour_weight": 0.95,
    "neighbour_likeness": 0.5,
    "neighbours_across": 18,
    "st_input": "log1p_rate",
    "sm_input": "log1p_standardize",
    "dispersion": "gene",
    "kl_warmup_epochs": 16,
    "validation": 0.1,
}
_PAPER = {
    **_OURS,
    "weight_agreement": 0.0,
    "contributions": "origin",
    "neighbours": 0,
    "neighbour_weight": 0.0,
    "neighbour_likeness": 0.0,
    "neighbours_across": 0,
    "st_input": "log1p",
    "sm_input": "standardize",
    "dispersion": "spot",
    "kl_warmup_epochs": 400,
    "validation": 0.0,
}

#: values of the settings that are left empty or 'auto', by preset; docs/integration.md has the experiments behind them.
#: The `paper-` presets are the whole published form: each spot alone, counts and standardised intensities in, the
#: authors' weights, all spots trained on to the last epoch.
PRESETS: dict[str, dict] = {
    "single": _OURS,
    "multi": {**_OURS, "weight_kl": 0.3},
    "sm-only": {**_OURS, "weight_st": 0.0},
    "paper-single": {**_PAPER, "weight_st": 5.0, "weight_kl": 0.5},
    "paper-multi": {**_PAPER, "weight_st": 8.0, "weight_sm": 2.0, "weight_mmd": 10.0},
    "paper-sm-only": {**_PAPER, "weight_st": 0.0},
}
SM_ONLY = frozenset({"sm-only", "paper-sm-only"})


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
    neighbour_weight: float | None = option(
        None, "share of the neighbours' mean in the encoder's input", minimum=0.0, maximum=1.0, advanced=True
    )
    neighbour_likeness: float | None = option(
        None,
        "how much less a neighbour counts the less it looks like the spot; 0: all neighbours alike, also over borders",
        minimum=0.0,
        maximum=10.0,
        advanced=True,
    )
    neighbours_across: int | None = option(
        None,
        "most alike spots of every other sample among which a spot's partner is sought; partners share what the "
        "encoder sees; 0: none",
        unit="spots",
        minimum=0,
        maximum=200,
        label="Neighbours in other samples",
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
    mixed_precision: str = option(
        AUTO,
        "products of wide layers in bfloat16 (8 significant bits, summed in float32); auto: where the processor has "
        "instructions for it",
        choices=(AUTO, "on", "off"),
        advanced=True,
    )
    n_hidden: int = option(128, "units of a hidden layer", minimum=1, maximum=8192, advanced=True, label="Hidden units")
    n_layers: int = option(
        1, "hidden layers of each encoder and decoder", minimum=1, maximum=8, advanced=True, label="Hidden layers"
    )
    dropout: float = option(0.1, "share of encoder units left out at random", minimum=0.0, maximum=0.9, advanced=True)
    st_input: str = option(
        AUTO,
        "gene values that the encoder sees: log of counts, or of counts over the spot's total",
        choices=(AUTO, "log1p", "log1p_rate"),
        advanced=True,
        label="ST input",
    )
    sm_input: str = option(
        AUTO,
        "metabolite values that the model sees: standardised, or log first",
        choices=(AUTO, "standardize", "log1p_standardize"),
        advanced=True,
        label="SM input",
    )
    dispersion: str = option(
        AUTO, "ZINB dispersion: one per gene, or decoded per spot", choices=(AUTO, "gene", "spot"), advanced=True
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
    contributions: str = option(
        AUTO,
        "angles of the joint embedding to what a modality tells: about the centres of other kinds of spots, or to the "
        "single embedding about the origin (as published)",
        choices=(AUTO, "contrasts", "origin"),
        advanced=True,
    )
    kl_warmup_epochs: int | None = option(
        None,
        "epochs over which the KL weight grows to its full value, at most all",
        unit="epochs",
        minimum=0,
        advanced=True,
        label="KL warm-up",
    )
    validation: float | None = option(
        None, "share of spots kept aside to see when to stop; 0: train on all", minimum=0.0, maximum=0.5, advanced=True
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
    values = dict(PRESETS[preset]) | ({} if has_spatial else {"neighbours": 0, "weight_agreement": 0.0})
    left = {name: value for name, value in values.items() if getattr(config, name) in {None, AUTO}}
    settled = replace(config, preset=preset, **left)
    return replace(settled, kl_warmup_epochs=min(settled.kl_warmup_epochs, settled.epochs))


def as_plain(config: IntegrateConfig) -> dict:
    """*config* as a mapping of plain values, for files."""
    return asdict(config)
