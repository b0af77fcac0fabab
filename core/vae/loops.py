"""Compiled loops over the narrow layers of a minibatch on the CPU, in float32, and what cuts it from a sparse matrix.

Each takes the place of a dozen operations on small arrays, of which most is the call.
"""

from __future__ import annotations

import math

from core.jit import compiled
from core.vae.kernels import ONE, ZERO, f32, f64, log1p, u32, wide

INFINITY = f32(math.inf)
NORM_FLOOR = f32(1e-5)  # of a variance, as in torch


@compiled(
    "void(float32[:,::1], float32[::1], float32[::1], float32[::1], float32[:,::1], float32, float32[:,::1],"
    " float32[::1])"
)
def norm_rows(x, bias, gain, shift, uniform, rate, out, inverse_sd):
    """Layer normalisation (Ba et al. 2016), ReLU and dropout of *x* (rows, width), given without its bias and
    **overwritten** by the normalised values.

    *uniform* (rows, width) are random numbers in [0, 1), of which those below *rate* drop a value; read where the rate
    is not 0. *out* (rows, width) and *inverse_sd* (rows,) are written.
    """
    width = x.shape[1]
    scale = ONE / (ONE - rate)
    wide()
    for row in range(len(x)):
        values, active = x[row], out[row]
        mean, square = ZERO, ZERO
        for j in range(width):
            values[j] += bias[j]
            mean += values[j]
        mean /= f32(width)
        for j in range(width):
            values[j] -= mean
            square += values[j] * values[j]
        inverse = ONE / math.sqrt(square / f32(width) + NORM_FLOOR)
        inverse_sd[row] = inverse
        for j in range(width):
            values[j] *= inverse
            active[j] = max(values[j] * gain[j] + shift[j], ZERO)
        if rate > ZERO:
            drawn = uniform[row]
            for j in range(width):
                active[j] *= scale if drawn[j] >= rate else ZERO


@compiled(
    "void(float32[:,::1], float32[:,::1], float32[:,::1], float32[::1], float32[::1], float32, float32[::1],"
    " float32[::1], float32[::1])"
)
def norm_slopes(slope, out, normalised, inverse_sd, gain, rate, d_bias, d_gain, d_shift):
    """Derivatives of :func:`norm_rows`: *slope* (rows, width), by *out*, is **overwritten** by that by *x*; those by
    bias, gain and shift (width,) are written."""
    width = slope.shape[1]
    scale = ONE / (ONE - rate)
    d_bias[:], d_gain[:], d_shift[:] = ZERO, ZERO, ZERO
    wide()
    for row in range(len(slope)):
        given, active, values = slope[row], out[row], normalised[row]
        mean, along = ZERO, ZERO
        for j in range(width):
            passed = given[j] * scale if active[j] > ZERO else ZERO  # what was dropped is 0 as well
            d_shift[j] += passed
            d_gain[j] += passed * values[j]
            given[j] = passed * gain[j]
            mean += given[j]
            along += given[j] * values[j]
        mean /= f32(width)
        along /= f32(width)
        for j in range(width):
            given[j] = (given[j] - mean - values[j] * along) * inverse_sd[row]
            d_bias[j] += given[j]


@compiled(
    *(f"void({index}[::1], {index}[::1], float32[::1], int64[::1], float32[:,::1])" for index in ("int32", "int64"))
)
def dense_rows(indptr, indices, data, rows, out):
    """The given rows of a CSR matrix, dense."""
    for k in range(len(rows)):
        dense = out[k]
        dense[:] = ZERO
        for i in range(indptr[rows[k]], indptr[rows[k] + 1]):
            dense[u32(indices[i])] = data[i]  # no index counts from the end


@compiled("void(int64[::1], int64[::1], float32[::1], float32[:,::1], float32[:,::1])")
def mixed_rows(indptr, indices, weights, values, out):
    """A CSR matrix of *weights* (rows, n) times *values* (n, features), to *out* (rows, features)."""
    wide()
    for row in range(len(out)):
        mixed = out[row]
        mixed[:] = ZERO
        for i in range(indptr[row], indptr[row + 1]):
            weight, source = weights[i], values[indices[i]]
            for j in range(len(mixed)):
                mixed[j] += weight * source[j]


@compiled("void(float32[:,::1], float32[:,::1])")
def least_values(values, out):
    """The smallest of each row of *values* (rows, m), as many as *out* (rows, k) has columns, in order; infinity where
    there are fewer. One look at each: numpy's partition takes four times as long where k is small."""
    k = out.shape[1]
    for row in range(len(values)):
        given, least = values[row], out[row]
        least[:] = INFINITY
        for j in range(len(given)):
            if given[j] < least[k - 1]:
                at = k - 1
                while at > 0 and least[at - 1] > given[j]:
                    least[at] = least[at - 1]
                    at -= 1
                least[at] = given[j]


@compiled("void(float32[:,::1], float32[::1], boolean, float32[::1], float32[::1], float32[:,::1])")
def transform_rows(x, factor, log, shift, scale, out):
    """:meth:`core.vae.modality.Transform.forward` in one pass: *x* (rows, features), *factor* (rows,), *shift* and
    *scale* (features,) to *out*; *log*: whether the logarithm of 1 + x is taken, which has to be at least 1 then."""
    wide()
    for row in range(len(x)):
        values, found, times = x[row], out[row], factor[row]
        if log:
            for j in range(len(values)):
                found[j] = (log1p(values[j] * times) - shift[j]) / scale[j]
        else:
            for j in range(len(values)):
                found[j] = (values[j] * times - shift[j]) / scale[j]


@compiled(
    "UniTuple(float64, 2)(float32[:,::1], float32[:,::1], float32[:,:], float32[:,:,::1], float32[:,::1], float32,"
    " float32, float32[:,::1], float32[:,:,:,::1])"
)
def latent_rows(mean, log_spread, noise, single, batch, limit, floor, spread, sources):
    """Draw z and lay out what the decoders see.

    With n rows, d dimensions, m modalities and b values of batches: *mean*, *log_spread* and *noise* (n, d) give
    *spread* (n, d), the exponential, and z; *single* (m, n, d), or none; *batch* (n, b); *sources* (m, repeats, n,
    d + b) gets z and then each modality's single mean, with the batch beside it. Returned are the sums of the
    divergence of N(mean, (spread + floor)²) from N(0, 1), and of half the squared distances of the single means.
    """
    n, d = mean.shape
    kl, apart = 0.0, 0.0
    for row in range(n):
        for j in range(d):
            spread[row, j] = math.exp(min(max(log_spread[row, j], -limit), limit))
            sigma = spread[row, j] + floor
            kl += 0.5 * f64(mean[row, j] * mean[row, j] + sigma * sigma - ONE) - math.log(f64(sigma))
            for m in range(len(sources)):
                sources[m, 0, row, j] = mean[row, j] + sigma * noise[row, j]
            for m in range(len(single)):
                sources[m, 1, row, j] = single[m, row, j]
                apart += 0.5 * f64(single[m, row, j] - mean[row, j]) ** 2
        for m in range(len(sources)):
            for repeat in range(sources.shape[1]):
                sources[m, repeat, row, d:] = batch[row]
    return kl, apart


@compiled(
    "void(float32[:,:,:,::1], float32[:,:], float32[:,::1], float32[:,::1], float32[:,::1], float32[:,:],"
    " float32[:,:,::1], float32, float32, float32, float32, float32[:,::1], float32[:,::1], float32[:,:,::1],"
    " float32[:,:,::1], float32[:,::1])"
)
def latent_slopes(
    d_sources, d_z, mean, log_spread, spread, noise, single, limit, floor, kl, agreement,
    d_mean, d_log_spread, d_single, d_head, d_batch,
):  # fmt: skip
    """Derivatives of :func:`latent_rows` by its first arguments, from those by *sources* and, from elsewhere, by z
    (n, d); *kl* and *agreement* are the weights of what is returned there.

    The agreement moves the heads of the single means and goes no further: *d_head* has it, *d_single* has not.
    """
    n, d = mean.shape
    d_batch[:] = ZERO
    for row in range(n):
        for j in range(d):
            slope = d_z[row, j]
            for m in range(len(d_sources)):
                slope += d_sources[m, 0, row, j]
            sigma = spread[row, j] + floor
            d_mean[row, j] = slope + kl * mean[row, j]
            within = abs(log_spread[row, j]) <= limit
            by_sigma = slope * noise[row, j] + kl * (sigma - ONE / sigma)
            d_log_spread[row, j] = by_sigma * spread[row, j] if within else ZERO
            for m in range(len(single)):
                d_single[m, row, j] = d_sources[m, 1, row, j]
                d_head[m, row, j] = d_single[m, row, j] + agreement * (single[m, row, j] - mean[row, j])
        for m in range(len(d_sources)):
            for repeat in range(d_sources.shape[1]):
                for j in range(d_batch.shape[1]):
                    d_batch[row, j] += d_sources[m, repeat, row, d + j]
