"""Compiled likelihoods over minibatches on the CPU, in float32, with all their derivatives in one pass.

Written out in torch operations these are some forty passes over memory, and most of a training step. The loops below
hold no branch that depends on data, and their exp and log are polynomials without calls, so that LLVM makes vector
instructions of them. Division by zero and the like follow IEEE 754, and NaN goes through to the result.

The polynomials are those of Cephes (S. Moshier, netlib.org/cephes, single/expf.c and logf.c): relative error of 2e-7.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from core.jit import EXACT, compiled

f32, f64, i32, u8, u32 = np.float32, np.float64, np.int32, np.uint8, np.uint32

TABLE = 16  # whole counts up to here are summed by table
CHUNK = 512  # features worked on at once
BYTE = 255  # rows that are counted in a byte
SHIFT = 8  # Stirling's series is used above this argument

ZERO, HALF, ONE = f32(0), f32(0.5), f32(1)
TINY = np.finfo(f32).tiny
SMALLEST_ODDS = f32(1e-12)  # its cube is still a normal number: others take a hundred times as long
LOG2_E = f32(math.log2(math.e))
LN_2_HIGH, LN_2_LOW = f32(0.693359375), f32(-2.12194440e-4)
ROOT_2, ROOT_HALF_BITS = f32(math.sqrt(2)), i32(0x3F3504F3)
MANTISSA, BIAS = i32(23), f32(127)
LOG_2_PI = f32(math.log(2 * math.pi))
LAST_FACTORIAL = 1023
LOG_FACTORIAL = np.array([math.lgamma(k + 1) for k in range(LAST_FACTORIAL + 1)])


@intrinsic
def _bits(_: object, x: types.Type) -> tuple:
    return types.int32(types.float32), lambda context, builder, _, args: builder.bitcast(
        args[0], context.get_value_type(types.int32)
    )


@intrinsic
def _float(_: object, x: types.Type) -> tuple:
    return types.float32(types.int32), lambda context, builder, _, args: builder.bitcast(
        args[0], context.get_value_type(types.float32)
    )


@intrinsic
def wide(_: object) -> tuple:
    """Ask for the widest vectors in the function that calls this; LLVM by itself takes half of what AVX-512 has."""

    def ask(context: Any, builder: Any, _: object, __: object) -> Any:
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')  # its own add knows a few attributes only
        return context.get_dummy_value()

    return types.void(), ask


@compiled(fastmath=EXACT, forceinline=True)
def _exp(x):
    x = min(max(x, f32(-87)), f32(88))
    exponent = i32(x * LOG2_E + f32(127.5))  # biased, rounded: it is positive, so cutting is rounding down
    n = f32(exponent) - BIAS
    x = x - n * LN_2_HIGH - n * LN_2_LOW
    y = f32(1.9875691500e-4)
    y = y * x + f32(1.3981999507e-3)
    y = y * x + f32(8.3334519073e-3)
    y = y * x + f32(4.1665795894e-2)
    y = y * x + f32(1.6666665459e-1)
    y = y * x + f32(5.0000001201e-1)
    return (y * (x * x) + x + ONE) * _float(i32(exponent << MANTISSA))


@compiled(fastmath=EXACT, forceinline=True)
def _log_parts(x, n):
    """log(1 + x) + n log 2, for x from sqrt(1/2) - 1 to sqrt(2) - 1."""
    y = f32(7.0376836292e-2)
    y = y * x + f32(-1.1514610310e-1)
    y = y * x + f32(1.1676998740e-1)
    y = y * x + f32(-1.2420140846e-1)
    y = y * x + f32(1.4249322787e-1)
    y = y * x + f32(-1.6668057665e-1)
    y = y * x + f32(2.0000714765e-1)
    y = y * x + f32(-2.4999993993e-1)
    y = y * x + f32(3.3333331174e-1)
    square = x * x
    return y * (x * square) + n * LN_2_LOW - HALF * square + x + n * LN_2_HIGH


@compiled(fastmath=EXACT, forceinline=True)
def _log(x):
    """Of normal positive numbers."""
    n = i32(i32(_bits(x) - ROOT_HALF_BITS) >> MANTISSA)  # numba makes 64 bits of two times 32
    return _log_parts(_float(i32(_bits(x) - i32(n << MANTISSA))) - ONE, f32(n)) + ZERO * x  # the last term is for NaN


@compiled(fastmath=EXACT, forceinline=True)
def log1p(x):
    """log(1 + x) for x of at least 0, to full relative accuracy: with what rounding takes from 1 + x."""
    y = ONE + x
    return _log(y) + (x - (y - ONE)) / y


@compiled(fastmath=EXACT, forceinline=True)
def _log1m(x):
    """log(1 - x) for x from 0 to 1/2, to full relative accuracy."""
    near = x < ONE - HALF * ROOT_2  # 1 - x is not rounded then
    return _log_parts(-x if near else ONE - x - x, ZERO if near else -ONE)


@compiled(fastmath=True)
def _largest(values, bias):
    """Add *bias* to the values, and return the largest."""
    largest = values[0] + bias[0]
    for j in range(len(values)):
        values[j] += bias[j]
        largest = max(largest, values[j])
    return largest


@compiled(
    "void(float32[:,::1], float32[::1], float32[:,::1], float32[::1], float32[:,::1], float32[:,::1], float32[::1],"
    " float32, float32, int64, int64, float32[:,::1], float32[::1], float32[::1], float64[::1])"
)
def zinb_rows(
    x, log_total, rate, rate_bias, log_theta, zi_logits, zi_bias, theta_limit, zi_limit, start, stop, d_theta,
    d_rate_bias, d_zi_bias, value,
):  # fmt: skip
    """Rows *start* to *stop* of the zero-inflated negative binomial without its gamma functions.

    With mu = softmax(rate) exp(log_total) and r = theta / (theta + mu): NB(0) = r^theta, and NB(x) = NB(0) (1 - r)^x
    times gamma functions. x, log_total: n rows, which repeat; rate, zi_logits: *repeats* times n rows without their
    biases (p,), **overwritten** by the derivatives of the log-likelihood. log_theta: one row, or as many as rate;
    d_theta: as many, added to, as the derivatives by the biases are. value[0]: the log-likelihood.
    """
    n, p = x.shape
    share, theta, logs, inverse_theta = np.empty(p, f32), np.empty(p, f32), np.empty(p, f32), np.empty(p, f32)
    minus_log_r, rest, either = np.empty(CHUNK, f32), np.empty(CHUNK, f32), np.empty(CHUNK + 1, f32)
    wide()
    by_spot = len(log_theta) > 1
    total_value = 0.0
    for row in range(start, stop):
        logits, library = rate[row], log_total[row % n]
        which = row if by_spot else 0
        if by_spot or row == start:
            for j in range(p):
                logs[j] = min(max(log_theta[which, j], -theta_limit), theta_limit)
                theta[j] = _exp(logs[j])
                inverse_theta[j] = ONE / theta[j]
        highest = _largest(logits, rate_bias)
        total = ZERO
        for j in range(p):
            share[j] = _exp(logits[j] - highest)
            total += share[j]
        scale = _exp(library) / total
        offset = library - highest - _log(total)  # of log mu from the logit
        row_value, summed = ZERO, ZERO
        # several short loops over a piece that stays in the nearest cache: one long loop waits for itself
        for first in range(0, p, CHUNK):
            piece = slice(first, min(first + CHUNK, p))
            counts, predicted, inflation, theta_slope, zi_slope = (
                x[row % n, piece],
                logits[piece],
                zi_logits[row, piece],
                d_theta[which, piece],
                d_zi_bias[piece],
            )
            sizes, log_sizes, inverse_sizes, shares, size_logits, biases = (
                theta[piece],
                logs[piece],
                inverse_theta[piece],
                share[piece],
                log_theta[which, piece],
                zi_bias[piece],
            )
            for j in range(len(counts)):
                odds = max(shares[j] * scale * inverse_sizes[j], SMALLEST_ODDS)  # mu / theta
                log_odds = predicted[j] + offset - log_sizes[j]
                # by the smaller of r = 1 / (1 + odds) and 1 - r: large counts take 1 - r times thousands
                rare = odds < ONE
                r = ONE / (ONE + odds)
                smaller = odds * r if rare else r
                above = -_log1m(smaller)
                minus_log_r[j] = above if rare else log_odds + above
                rest[j] = smaller if rare else ONE - smaller  # 1 - r
                row_value += counts[j] * (log_odds - above if rare else -above)
            for j in range(len(counts)):
                zero = counts[j] == ZERO
                minus_log_nb_zero = sizes[j] * minus_log_r[j]
                nb_zero = _exp(-minus_log_nb_zero)
                logit = inflation[j] + biases[j]
                odds = _exp(min(max(logit, -zi_limit), zi_limit))  # of being inflated
                both = ONE / ((ONE + odds) * (odds + nb_zero))  # two divisions in one
                measured = (odds + nb_zero) * both
                # positive counts are never inflated: NB's share alone
                either[j] = measured * (odds + nb_zero if zero else ONE)
                weight = nb_zero * (ONE + odds) * both if zero else ONE  # probability that a count is NB's
                row_value -= ZERO if zero else minus_log_nb_zero
                by_zi = measured - weight if abs(logit) <= zi_limit else ZERO
                inflation[j] = by_zi
                zi_slope[j] += by_zi
                weight *= sizes[j]
                by_mu = counts[j] - rest[j] * (weight + counts[j])
                predicted[j] = by_mu
                summed += by_mu
                by_theta = theta_slope[j] - weight * minus_log_r[j] - by_mu
                theta_slope[j] = by_theta if abs(size_logits[j]) <= theta_limit else ZERO
            # each is above exp(-zi_limit), so that a product of two is no denormal number: half as many logarithms
            half = len(counts) // 2
            either[2 * half] = either[len(counts) - 1] if len(counts) > 2 * half else ONE
            for j in range(half):
                row_value += _log(either[j] * either[half + j])
            row_value += _log(either[2 * half])
        total_value += row_value
        summed /= total
        for j in range(p):
            logits[j] -= share[j] * summed
            d_rate_bias[j] += logits[j]
    value[0] = total_value


@compiled(fastmath=EXACT, forceinline=True)
def _stirling(z):
    """lgamma(z) - log(2 pi) / 2 and its derivative by Stirling's series, for z from SHIFT, in float64."""
    inverse, log_z = 1.0 / z, math.log(z)
    square = inverse * inverse
    value = (z - 0.5) * log_z - z + inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)))
    return value, log_z - 0.5 * inverse - square * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square / 240)))


@compiled(fastmath=EXACT, forceinline=True)
def _gamma_ratio(x, theta):
    """lgamma(x + theta) - lgamma(theta) - lgamma(x + 1) and its derivative by theta, for x > 0, in float64.

    By Stirling's series beyond SHIFT, to which both arguments are raised by gamma(z + 1) = z gamma(z).
    """
    value, slope = -math.lgamma(x + 1.0), 0.0
    for sign, start in ((1.0, x + theta), (-1.0, theta)):
        product, product_slope = 1.0, 0.0
        for j in range(SHIFT):
            product_slope = product_slope * (start + j) + product
            product *= start + j
        raised, raised_slope = _stirling(start + SHIFT)
        value += sign * (raised - math.log(product))
        slope += sign * (raised_slope - product_slope / product)
    return value, slope


@compiled(fastmath=EXACT, forceinline=True)
def _beyond_table(x, theta):
    """What a count above TABLE has more of :func:`_gamma_ratio` than TABLE itself, but for what does not depend on x
    (lgamma(TABLE + theta) and its derivative)."""
    value, slope = _stirling(x + theta)
    whole = int(min(x, LAST_FACTORIAL + 0.5))
    log_factorial = LOG_FACTORIAL[whole] if whole == x else math.lgamma(x + 1.0)
    return value - log_factorial + LOG_FACTORIAL[TABLE], slope


@compiled("float64(float32[:,::1], float32[::1], float64[::1])")
def gamma_by_feature(x, theta, d_theta):
    """Sum over all entries of lgamma(x + theta) - lgamma(theta) - lgamma(x + 1), for one theta per feature; d_theta
    (p,) gets the derivative by log theta.

    For whole counts ``lgamma(x + theta) - lgamma(theta) = sum over j < x of log(theta + j)``: it is enough to know how
    many counts of each feature exceed j.
    """
    n, p = x.shape
    value = 0.0
    d_theta[:] = 0.0
    whole, cut, some = np.empty(CHUNK, i32), np.empty(CHUNK, u8), np.empty((TABLE, CHUNK), u8)
    wide()
    for first in range(0, p, CHUNK):
        piece = slice(first, min(first + CHUNK, p))
        sizes, slopes = theta[piece], d_theta[piece]
        width = len(sizes)
        above = np.zeros((TABLE, width), i32)  # how many counts of each feature exceed 0, 1, ...
        beyond = np.zeros(width, i32)
        for row in range(n):
            counts = x[row, piece]
            if row % BYTE == 0:
                some[:] = u8(0)
            broken = ZERO
            for j in range(width):
                limited = min(counts[j], f32(TABLE))
                whole[j] = i32(limited)
                off = limited - f32(whole[j])
                broken += off
                whole[j] = i32(0) if off > ZERO else whole[j]
            for j in range(width):
                cut[j] = u8(whole[j])
            for k in range(TABLE):  # bytes: 64 in a vector
                limit, more = u8(k), some[k]
                for j in range(width):
                    more[j] = u8(more[j] + (u8(1) if cut[j] > limit else u8(0)))
            if row % BYTE == BYTE - 1 or row == n - 1:
                for k in range(TABLE):
                    for j in range(width):
                        above[k, j] += some[k, j]
            for j in range(width):
                if counts[j] > TABLE:
                    beyond[j] += i32(1)
                    term, slope = _beyond_table(f64(counts[j]), f64(sizes[j]))
                    value += term
                    slopes[j] += slope
            if broken > ZERO:
                for j in range(width):
                    if counts[j] < TABLE and f32(cut[j]) != counts[j]:
                        term, slope = _gamma_ratio(f64(counts[j]), f64(sizes[j]))
                        value += term
                        slopes[j] += slope
        for k in range(TABLE):
            for j in range(width):
                shifted, many = sizes[j] + f32(k), f32(above[k, j])
                value += many * (_log(shifted) - f32(math.log(k + 1)))
                slopes[j] += many / shifted
        for j in range(width):
            if beyond[j] > 0:
                term, slope = _stirling(f64(sizes[j]) + TABLE)
                value -= beyond[j] * term
                slopes[j] -= beyond[j] * slope
            slopes[j] *= sizes[j]
    return value


@compiled("void(float32[:,::1], float32[:,::1], float32, int64, int64, float32[:,::1], float64[::1])")
def gamma_by_spot(x, log_theta, theta_limit, start, stop, d_theta, value):
    """The same with a theta for every entry, for rows *start* to *stop* of log_theta and d_theta; x has n rows, which
    repeat. value[0]: the sum.

    Here the sum over j < x is the logarithm of a product, taken for all entries alike up to TABLE.
    """
    n, p = x.shape
    size, table = np.empty(p, f32), np.empty(p, f32)
    wide()
    total = 0.0
    for row in range(start, stop):
        counts, logs, slopes = x[row % n], log_theta[row], d_theta[row]
        row_value = ZERO
        for j in range(p):
            count = counts[j]
            table[j] = min(count, f32(TABLE)) if count >= f32(TABLE) or f32(i32(count)) == count else ZERO
            size[j] = _exp(min(max(logs[j], -theta_limit), theta_limit))
        for j in range(p):
            theta, count = size[j], table[j]
            slope = ZERO
            for first in (0, TABLE // 2):  # in halves: the whole product may be too large
                product, product_slope = ONE, ZERO
                for k in range(first, first + TABLE // 2):
                    there = count > f32(k)
                    factor = (theta + f32(k)) * f32(1 / (k + 1)) if there else ONE
                    product_slope = product_slope * factor + (product * f32(1 / (k + 1)) if there else ZERO)
                    product *= factor
                row_value += _log(product)
                slope += product_slope / product
            slopes[j] = theta * slope
        total += row_value
        for j in range(p):
            if table[j] != counts[j]:
                count, theta = f64(counts[j]), f64(size[j])
                if count > TABLE:
                    term, slope = _beyond_table(count, theta)
                    table_term, table_slope = _stirling(theta + TABLE)
                    total += term - table_term
                    slopes[j] += f32(theta * (slope - table_slope))
                else:
                    term, slope = _gamma_ratio(count, theta)
                    total += term
                    slopes[j] = f32(theta * slope)
    value[0] = total


@compiled(
    "void(float32[:,::1], float32[:,::1], float32[::1], float32[:,::1], float32[::1], float32, int64, int64,"
    " float32[::1], float32[::1], float64[::1])"
)
def gaussian_rows(
    x, mean, mean_bias, log_variance, variance_bias, limit, start, stop, d_mean_bias, d_variance_bias, value
):
    """Rows *start* to *stop* of the normal log-likelihood; x has n rows, which repeat. *mean* and *log_variance*, given
    without their biases (p,), are **overwritten** by the derivatives; those by the biases are added to. value[0]: the
    log-likelihood."""
    n, p = x.shape
    wide()
    total = 0.0
    for row in range(start, stop):
        target, centre, logs = x[row % n], mean[row], log_variance[row]
        row_value = ZERO
        for j in range(p):
            given = logs[j] + variance_bias[j]
            log = min(max(given, -limit), limit)
            difference = target[j] - centre[j] - mean_bias[j]
            slope = difference * _exp(-log)
            square = difference * slope
            row_value += LOG_2_PI + log + square
            centre[j] = slope
            by_log = HALF * (square - ONE) if abs(given) <= limit else ZERO
            logs[j] = by_log
            d_mean_bias[j] += slope
            d_variance_bias[j] += by_log
        total -= HALF * row_value
    value[0] = total
