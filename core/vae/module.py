"""The conditional variational autoencoder over a list of modalities. It knows tensors, not AnnData."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.vae.config import IntegrateConfig
from core.vae.data import Minibatch
from core.vae.distributions import Rows
from core.vae.losses import kl_to_standard_normal, mmd
from core.vae.modality import LIKELIHOODS, Modality, Transform
from core.vae.nn import BatchEmbedding, mlp

BATCH_WIDTH = 8  # length of the learned vector of a batch level
SIGMA_FLOOR = 1e-4
LOG_SIGMA_LIMIT = 10.0


@dataclass(frozen=True)
class Posterior:
    """q(z | x): means and standard deviations (rows, n_latent), and the mean of each modality alone."""

    mean: Tensor
    sigma: Tensor
    single: dict[str, Tensor]


class Module(nn.Module):
    """Encoders see no batch; decoders are conditioned on it, so what the batch explains need not be in z."""

    def __init__(self, modalities: Sequence[Modality], batch_levels: tuple[int, ...], config: IntegrateConfig) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        self.batch_levels = batch_levels
        self.config = config
        names = [m.name for m in modalities]
        hidden, latent = config.n_hidden, config.n_latent
        self.transforms = nn.ModuleDict({m.name: Transform(m.input, len(m.features)) for m in modalities})
        self.encoders = nn.ModuleDict(
            {m.name: mlp(len(m.features), hidden, config.n_layers, config.dropout) for m in modalities}
        )
        self.joint_mean = nn.Linear(hidden * len(names), latent)
        self.joint_log_sigma = nn.Linear(hidden * len(names), latent)
        # with one modality the joint embedding is that modality's
        self.single_mean = nn.ModuleDict({n: nn.Linear(hidden, latent) for n in names} if len(names) > 1 else {})
        self.batch = BatchEmbedding(batch_levels, BATCH_WIDTH)
        self.decoders = self._decoders()
        self.single_decoders = None if config.shared_decoders or len(names) == 1 else self._decoders()

    def _decoders(self) -> nn.ModuleDict:
        config, n_in = self.config, self.config.n_latent + self.batch.width
        return nn.ModuleDict(
            {
                m.name: nn.ModuleDict(
                    {
                        "body": mlp(n_in, config.n_hidden, config.n_layers, 0.0),
                        "heads": LIKELIHOODS[m.likelihood](config.n_hidden, m),
                    }
                )
                for m in self.modalities
            }
        )

    def encode(self, inputs: dict[str, Tensor]) -> Posterior:
        """Transformed values (rows, features) by modality to the posterior (paper, eq. 8-12)."""
        return self._posterior(self._hidden(inputs))

    def _hidden(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {m.name: self.encoders[m.name](inputs[m.name]) for m in self.modalities}

    def _posterior(self, hidden: dict[str, Tensor]) -> Posterior:
        joint = torch.cat([hidden[m.name] for m in self.modalities], dim=1)
        mean = self.joint_mean(joint).float()
        sigma = self.joint_log_sigma(joint).float().clamp(-LOG_SIGMA_LIMIT, LOG_SIGMA_LIMIT).exp() + SIGMA_FLOOR
        single = {name: head(hidden[name]).float() for name, head in self.single_mean.items()}
        return Posterior(mean, sigma, single or {self.modalities[0].name: mean})

    def inputs(self, minibatch: Minibatch) -> dict[str, Tensor]:
        """What the encoders see, by modality."""
        given, targets = minibatch.inputs, minibatch.targets
        return {name: given[name] if name in given else self._transformed(name, targets[name]) for name in targets}

    def _transformed(self, name: str, rows: Rows) -> Tensor:
        return self.transforms[name](rows.values, rows.totals)

    def weights(self, *, kl_share: float) -> dict[str, float]:
        """Of the terms of the loss, KL with this share of its own."""
        config = self.config
        others = {"kl": config.weight_kl * kl_share, "mmd": config.weight_mmd, "agreement": config.weight_agreement}
        return {m.name.lower(): m.weight for m in self.modalities} | others

    def forward(self, minibatch: Minibatch) -> dict[str, Tensor]:
        """Draw z once and evaluate all terms (paper, eq. 18-19): unweighted means over spots (sums over features or
        dimensions), scalars; a reconstruction has the name of its modality in small letters."""
        inputs = self.inputs(minibatch)
        hidden = self._hidden(inputs)
        posterior = self._posterior(hidden)
        z = posterior.mean + posterior.sigma * torch.randn_like(posterior.sigma)
        batch = self.batch(minibatch.batch)
        n = len(z)
        terms = {}
        for name, rows in minibatch.targets.items():
            latents = [z, posterior.single[name]] if self.single_mean else [z]
            sources = [torch.cat([latent, batch], dim=1) for latent in latents]
            if name in minibatch.measured:
                sources = [source[minibatch.measured[name]] for source in sources]
            terms[name.lower()] = self._reconstruct(name, sources, rows) / n
        terms["kl"] = kl_to_standard_normal(posterior.mean, posterior.sigma) / n
        terms["mmd"] = self._mmd(z, minibatch.batch)
        terms["agreement"] = self._agreement(hidden, posterior.mean) / n
        return terms

    def _reconstruct(self, name: str, sources: list[Tensor], rows: Rows) -> Tensor:
        """Sum over a minibatch, from the joint sample and, where there are several modalities, from the modality's
        own mean: one pass through a shared decoder."""
        if not len(rows):
            return sources[0].new_zeros(())
        transform = self.transforms[name]
        if self.single_decoders is None:
            decoder = self.decoders[name]
            nll = decoder["heads"].nll(decoder["body"](torch.cat(sources)), rows, transform)
        else:
            pairs = zip((self.decoders[name], self.single_decoders[name]), sources, strict=True)
            nll = torch.cat([d["heads"].nll(d["body"](s), rows, transform) for d, s in pairs])
        return nll[0] + self.config.weight_single * nll[1:].sum()

    def _mmd(self, z: Tensor, codes: Tensor) -> Tensor:
        if not self.batch_levels or not self.config.weight_mmd:
            return z.new_zeros(())
        with torch.autocast(z.device.type, enabled=False):  # distances by products need all digits
            return mmd(z, codes[:, 0], self.batch_levels[0])

    def _agreement(self, hidden: dict[str, Tensor], joint: Tensor) -> Tensor:
        """Half the squared distance of each single mean from the joint one, summed over all entries.

        A reconstruction of its own modality leaves a single mean free in all directions that this modality's decoder
        ignores. With this term it becomes the expected joint embedding given one modality, which is what comparing
        the two by angle (eq. 20) takes for granted. It moves the heads of the single means and nothing else, so the
        joint embedding is not bent towards what each modality could do alone.
        """
        joint = joint.detach()
        apart = [0.5 * (head(hidden[name].detach()) - joint).square().sum() for name, head in self.single_mean.items()]
        return sum(apart, joint.new_zeros(()))

    def decode(self, latent: Tensor, codes: Tensor) -> dict[str, Tensor]:
        """Expected values (see :class:`core.vae.modality.Likelihood`) of latent means, by modality.

        *codes* (rows, batch columns), int64; -1: the mean batch.
        """
        source = torch.cat([latent, self.batch(codes)], dim=1)
        return {name: d["heads"].mean(d["body"](source)) for name, d in self.decoders.items()}
