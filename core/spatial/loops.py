"""The compiled loop behind :mod:`core.spatial.autocorrelation`."""

from __future__ import annotations

from core.jit import compiled

SPARSE = "int64[::1], int32[::1], float64[::1]"


@compiled(f"void({SPARSE}, {SPARSE}, float64[::1], float64[::1], float64[:,::1])")
def column_sums(x_starts, x_rows, x_values, w_starts, w_columns, w_values, ends, column, out):
    """For each column x of a CSC matrix: sums of x, x², x e, x² e (e: *ends*) and x'Wx, into *out* (columns, 5).

    W is CSR. *column* is working space: zeros, as many as rows. Only entries that are not zero are visited.
    """
    for c in range(len(out)):
        entries = range(x_starts[c], x_starts[c + 1])
        for k in entries:
            column[x_rows[k]] = x_values[k]
        x, x2, x_ends, x2_ends, xwx = 0.0, 0.0, 0.0, 0.0, 0.0
        for k in entries:
            row, value = x_rows[k], x_values[k]
            near = 0.0
            for i in range(w_starts[row], w_starts[row + 1]):
                near += w_values[i] * column[w_columns[i]]
            x += value
            x2 += value * value
            x_ends += value * ends[row]
            x2_ends += value * value * ends[row]
            xwx += value * near
        for k in entries:
            column[x_rows[k]] = 0.0
        out[c, 0], out[c, 1], out[c, 2], out[c, 3], out[c, 4] = x, x2, x_ends, x2_ends, xwx
