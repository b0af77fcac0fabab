"""Names and values of the simulated genes and metabolites."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from core import keys

ELEMENT_MASS = {
    "C": 12.0,
    "H": 1.00782503207,
    "N": 14.0030740048,
    "O": 15.99491461956,
    "P": 30.97376163,
    "S": 31.972071,
}
PROTON_MASS = 1.00727646688

GENE_SYMBOLS = """
Snap25 Mbp Plp1 Gfap Slc17a7 Gad1 Gad2 Th Slc6a3 Drd1 Drd2 Penk Tac1 Pcp4 Cck Sst Vip Npy Calb1 Calb2 Pvalb
Rora Prox1 Wfs1 Neurod6 Camk2a Camk2n1 Nrgn Gng7 Ppp1r1b Adora2a Mobp Mog Mag Cnp Apod Aqp4 Aldoc Slc1a2
Slc1a3 Cx3cr1 C1qa Csf1r Cldn5 Flt1 Vtn Ttr Enpp2 Kl Ccdc153 Foxj1 Lamp5 Rasgrf2 Cux2 Rorb Fezf2 Foxp2 Ntng1
Tcf7l2 Agt Hcrt Pmch Oxt Avp Sparc Gnas Fth1 Apoe Ptgds Meg3 Snhg11 Malat1 Hbb-bs Hba-a1 mt-Nd1 mt-Co1 mt-Cytb
mt-Atp6
"""

#: name -> sum formula of the neutral molecule
METABOLITES = {
    "GABA": "C4H9NO2",
    "Dopamine": "C8H11NO2",
    "Serotonin": "C10H12N2O",
    "Norepinephrine": "C8H11NO3",
    "3-Methoxytyramine": "C9H13NO2",
    "Taurine": "C2H7NO3S",
    "Histidine": "C6H9N3O2",
    "Tocopherol": "C29H50O2",
    "Glutamate": "C5H9NO4",
    "Glutamine": "C5H10N2O3",
    "Aspartate": "C4H7NO4",
    "Glycine": "C2H5NO2",
    "Serine": "C3H7NO3",
    "Alanine": "C3H7NO2",
    "Proline": "C5H9NO2",
    "Choline": "C5H13NO",
    "Creatine": "C4H9N3O2",
    "Carnitine": "C7H15NO3",
    "Acetylcarnitine": "C9H17NO4",
    "Spermidine": "C7H19N3",
    "Spermine": "C10H26N4",
    "Adenosine": "C10H13N5O4",
    "Inosine": "C10H12N4O5",
    "Hypoxanthine": "C5H4N4O",
    "AMP": "C10H14N5O7P",
    "ADP": "C10H15N5O10P2",
    "Glutathione": "C10H17N3O6S",
    "Glucose": "C6H12O6",
    "N-Acetylaspartate": "C6H9NO5",
    "Tryptophan": "C11H12N2O2",
    "Tyrosine": "C9H11NO3",
    "Phenylalanine": "C9H11NO2",
    "Kynurenine": "C10H12N2O3",
    "Cholesterol": "C27H46O",
    "LPC 16:0": "C24H50NO7P",
    "PC 34:1": "C42H82NO8P",
    "PC 32:0": "C40H80NO8P",
    "PE 38:4": "C43H78NO8P",
    "SM d36:1": "C41H83N2O6P",
}


def exact_mass(formula: str) -> float:
    """Monoisotopic mass of a sum formula such as ``C8H11NO2``, in Da."""
    parts = re.findall(r"([A-Z][a-z]?)(\d*)", formula)
    return sum(ELEMENT_MASS[element] * int(count or 1) for element, count in parts)


def gene_table(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """``var`` of *n* genes: known symbols first, then names as predicted genes have them."""
    known = GENE_SYMBOLS.split()[:n]
    symbols = known + [f"Gm{number}" for number in rng.permutation(40_000)[: n - len(known)] + 10_000]
    ids = [f"ENSMUSG{number:011d}" for number in rng.permutation(90_000)[:n] + 1]
    return pd.DataFrame({keys.GENE_IDS: ids, keys.SYMBOL: symbols, keys.TYPE: keys.ST}, index=pd.Index(symbols))


def metabolite_table(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """``var`` of *n* metabolites as [M+H]+ ions by m/z; known ones carry their name in ``annotation``."""
    known = list(METABOLITES)[:n]
    mz = [exact_mass(METABOLITES[name]) + PROTON_MASS for name in known]
    nominal = np.sort(rng.choice(np.arange(80, 950), size=n - len(known), replace=n - len(known) > 870))
    # Mass defects of organic ions grow by about half a millidalton per dalton.
    unknown = nominal + 0.0005 * nominal + rng.normal(0, 0.02, nominal.size) + 1e-4 * np.arange(nominal.size) % 1e-2
    mz, annotation = np.concatenate([mz, unknown]), np.array(known + [""] * nominal.size, dtype=object)
    order = np.argsort(mz, kind="stable")
    table = pd.DataFrame(
        {
            keys.MZ: mz[order],
            keys.ANNOTATION: annotation[order],
            keys.POLARITY: "positive",
            keys.ADDUCT: "[M+H]+",
            keys.TYPE: keys.SM,
        }
    )
    table.index = pd.Index(_distinct(table[keys.MZ].to_numpy()))
    return table


def _distinct(mz: np.ndarray) -> list[str]:
    """m/z as names with four decimals; the rare double gets a suffix."""
    names: list[str] = []
    seen: dict[str, int] = {}
    for value in mz:
        name = f"{value:.4f}"
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return names


@dataclass(frozen=True)
class Programmes:
    """Log means of features by domain and gradient.

    ``base`` (n,), ``by_domain`` (n_domains, n), ``by_gradient`` (n_gradients, n); natural logarithms.
    """

    base: np.ndarray
    by_domain: np.ndarray
    by_gradient: np.ndarray

    @classmethod
    def draw(
        cls, rng: np.random.Generator, n: int, *, n_domains: int, n_gradients: int, level: float, spread: float
    ) -> Programmes:
        """40% of the features mark one domain, 15% follow a gradient, the rest are the same everywhere."""
        kind = rng.uniform(size=n)
        by_domain = np.zeros((n_domains, n))
        by_domain[rng.integers(0, n_domains, n), np.arange(n)] = np.where(kind < 0.4, rng.uniform(0.8, 2.2, n), 0.0)
        by_gradient = np.zeros((n_gradients, n))
        follows = (kind >= 0.4) & (kind < 0.55)
        by_gradient[rng.integers(0, n_gradients, n), np.arange(n)] = np.where(follows, rng.uniform(0.3, 0.7, n), 0.0)
        return cls(rng.normal(level, spread, n), by_domain, by_gradient)

    def in_batch(self, standard_deviation: float, rng: np.random.Generator) -> Programmes:
        """The same programmes measured in another batch: each feature's level is changed by a random factor."""
        shift = standard_deviation * rng.standard_normal(self.base.size)
        return replace(self, base=self.base + shift)

    def log_mean(self, domain: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Log mean at points with *domain* (m,) and *gradient* (m, n_gradients), as (m, n)."""
        return self.base + self.by_domain[domain] + gradient @ self.by_gradient


def draw_zinb(mean: np.ndarray, inverse_dispersion: np.ndarray, dropout: float, rng: np.random.Generator) -> np.ndarray:
    """Zero-inflated negative binomial counts.

    Parameters
    ----------
    mean
        Array of shape (n, m): mu of the negative binomial part.
    inverse_dispersion
        Array that broadcasts to *mean*: theta; variance of the negative binomial part = mu + mu**2 / theta.
    dropout
        pi, the probability of a zero from outside the negative binomial.

    Returns
    -------
    float32 array of shape (n, m), with mean (1 - pi) mu and variance (1 - pi) mu (1 + mu / theta + pi mu).
    """
    shape = np.broadcast_to(inverse_dispersion, mean.shape)
    counts = rng.poisson(rng.standard_gamma(shape) * (mean / shape))
    counts[rng.uniform(size=mean.shape) < dropout] = 0
    return counts.astype(np.float32)


def draw_log_normal(log_median: np.ndarray, sigma: float, dropout: float, rng: np.random.Generator) -> np.ndarray:
    """Log-normal intensities (n, m) as float32, a share *dropout* of them 0."""
    values = np.exp(log_median + sigma * rng.standard_normal(log_median.shape))
    values[rng.uniform(size=values.shape) < dropout] = 0
    return values.astype(np.float32)
