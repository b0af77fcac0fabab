"""Feature tables of several matrices as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from core import keys

if TYPE_CHECKING:  # the web process reads the Configs and must stay free of pandas
    import pandas as pd

#: suffix of a metabolite that has the name of a gene
CLASH_SUFFIX = "_SM"


def joint_var(genes: pd.DataFrame, metabolites: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """One table for genes and metabolites with ``type``, and the names of metabolites that had to be renamed."""
    import pandas as pd

    names = list(unique_names(genes.index.astype(str), set(), CLASH_SUFFIX))
    fresh = list(unique_names(metabolites.index.astype(str), set(names), CLASH_SUFFIX))
    renamed = [old for old, new in zip(metabolites.index.astype(str), fresh, strict=True) if old != new]
    var = stacked([genes, metabolites], names + fresh)
    types = [keys.ST] * len(genes) + [keys.SM] * len(metabolites)
    var[keys.TYPE] = pd.Categorical(types, categories=[keys.ST, keys.SM])
    if keys.MZ not in var:
        var[keys.MZ] = np.nan
    return var[[keys.TYPE, *(c for c in var if c != keys.TYPE)]], renamed


def stacked(tables: Sequence[pd.DataFrame], index: Sequence[str]) -> pd.DataFrame:
    """The rows of all *tables* under the names *index*, with the columns of any of them.

    Where a table does not know a column its rows get NaN (numbers), False (bool) or ''.
    """
    import pandas as pd

    columns = list(dict.fromkeys(column for table in tables for column in table.columns))
    joined = {c: _column([table.get(c) for table in tables], [len(table) for table in tables]) for c in columns}
    return pd.DataFrame(joined, index=index)


def _column(parts: Sequence[pd.Series | None], sizes: Sequence[int]) -> np.ndarray:
    import pandas as pd

    known = [part for part in parts if part is not None]
    if all(pd.api.types.is_bool_dtype(part) for part in known):
        fill, kind = False, bool
    elif all(pd.api.types.is_numeric_dtype(part) for part in known):
        fill, kind = np.nan, np.float64
    else:
        fill, kind = "", object
    arrays = []
    for part, n in zip(parts, sizes, strict=True):
        values = np.full(n, fill, dtype=kind) if part is None else part.to_numpy(dtype=kind, copy=True)
        arrays.append(np.where(pd.isna(values), "", values.astype(str)).astype(object) if kind is object else values)
    return np.concatenate(arrays)


def unique_names(names: Iterable[str], taken: set[str], suffix: str) -> Iterator[str]:
    """Yield each name, with *suffix* (and a number, where needed) if it is taken already."""
    taken = set(taken)
    for name in names:
        fresh, count = name, 1
        while fresh in taken:
            fresh = f"{name}{suffix}" if count == 1 else f"{name}{suffix}{count}"
            count += 1
        taken.add(fresh)
        yield fresh
