"""Gradient descent of linear maps on an objective, many starts at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import numpy as np
import torch
from scipy.optimize import OptimizeResult, minimize

from core.errors import NotConvergedError
from core.registration.losses import Objective
from core.registration.starts import Descent, Starts

PLATEAU = 15  # steps without progress after which the step size is halved
STEADY = 2 * PLATEAU  # steps over which the loss must have stayed about the same


def linear_parts(flip: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The matrices of *values* (b, 6) with *flip* (b,), as (b, 2, 2)."""
    cos, sin = torch.cos(values[:, 0]), torch.sin(values[:, 0])
    sx, sy, shear = torch.exp(values[:, 1]), torch.exp(values[:, 2]), values[:, 3]
    mirror = torch.where(flip, -1.0, 1.0)
    first = torch.stack([cos * sx * mirror, sin * sx * mirror], dim=1)
    second = torch.stack([cos * sx * shear - sin * sy, sin * sx * shear + cos * sy], dim=1)
    return torch.stack([first, second], dim=2)


class LinearMap:
    """The maps of *values* (b, 6) with *flip* (b,), see :class:`core.registration.starts.Starts`."""

    def __init__(self, flip: torch.Tensor, values: torch.Tensor) -> None:
        self.matrix, self.move = linear_parts(flip, values), values[:, None, 4:]

    def forward(self, xy: torch.Tensor) -> torch.Tensor:
        return xy @ self.matrix.transpose(1, 2) + self.move

    def back(self, xy: torch.Tensor) -> torch.Tensor:
        return (xy - self.move) @ torch.linalg.inv(self.matrix).transpose(1, 2)


def descend(
    objective: Objective,
    starts: Starts,
    how: Descent,
    *,
    radius: float,
    watch: Callable[[int, Starts], bool] | None = None,
) -> tuple[Starts, np.ndarray]:
    """Improve all *starts* at once with Adam, the step size of each halved where it waits.

    Parameters
    ----------
    radius
        Of SM's section, spot distances: turns and stretches are measured by how far they move its rim.
    watch
        Called after every step with its number and the best so far; a true answer stops.

    Returns
    -------
    The best of each start, and the best loss after every step, (n_steps,).

    Raises
    ------
    NotConvergedError
        The loss left the finite numbers.
    """
    flip = torch.as_tensor(starts.flip)
    # All parameters in spot distances at the rim, so that one step size fits them all.
    unit = torch.tensor([1 / radius] * 4 + [1.0, 1.0])
    free = torch.as_tensor(how.free, dtype=torch.float32)
    x = (torch.as_tensor(starts.values, dtype=torch.float32) / unit).requires_grad_()
    adam = _Adam(x, how.step)
    best_x, best = x.detach().clone(), torch.full((len(flip),), torch.inf)
    history: list[float] = []
    for number in range(how.steps):
        loss = objective(LinearMap(flip, x * unit))
        (gradient,) = torch.autograd.grad(loss.sum(), x)
        if not torch.isfinite(loss).all():
            raise NotConvergedError("a finite loss", found="NaN or infinity")
        with torch.no_grad():
            better = loss < best
            best_x[better], best = x.detach()[better], torch.minimum(best, loss.detach())
            adam.update(x, gradient * free, loss.detach())
        history.append(float(best.min()))
        if watch is not None and watch(number, _starts(starts.flip, best_x * unit, best)):
            break
        if adam.converged(history, how.tolerance):
            break
    return _starts(starts.flip, best_x * unit, best), np.array(history)


def settle(
    objective: Objective,
    start: Starts,
    how: Descent,
    *,
    radius: float,
    precision: float,
    watch: Callable[[int, Starts, Mapping[str, float]], bool],
) -> tuple[Starts, np.ndarray]:
    """The minimum that *start*, one start, lies near to, by BFGS: a dozen steps where Adam takes hundreds.

    Parameters and results as of :func:`descend`; converged when two steps together move the rim of the section by less
    than *precision* (spot distances).
    """
    flip = torch.as_tensor(start.flip[:1])
    unit = np.array([1 / radius] * 4 + [1.0, 1.0])
    free = np.flatnonzero(how.free)
    first = start.values[0] / unit
    seen: dict[str, float] = {}
    best = [first, np.inf]
    history: list[float] = []

    def loss_and_gradient(moved: np.ndarray) -> tuple[float, np.ndarray]:
        everything = first.copy()
        everything[free] = moved
        x = torch.as_tensor(everything * unit, dtype=torch.float32)[None].requires_grad_()
        terms = objective.terms_of(LinearMap(flip, x))
        loss = objective.total(terms).sum()
        (gradient,) = torch.autograd.grad(loss, x)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise NotConvergedError("a finite loss", found="NaN or infinity")
        if value < best[1]:
            best[:] = [everything, value]
            seen.update({name: float(term.detach()) for name, term in terms.items()})
        return value, (gradient[0].double().numpy() * unit)[free]

    trail = [first[free]]

    def after_step(intermediate_result: OptimizeResult) -> None:
        history.append(best[1])
        trail.append(np.array(intermediate_result.x))
        now = Starts(start.flip[:1], best[0][None] * unit, np.array([best[1]]))
        if watch(len(history) - 1, now, seen):
            raise StopIteration
        if len(trail) > 2 and np.abs(trail[-1] - trail[-3]).max() < precision:
            raise StopIteration

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # single precision ends line searches early, at the minimum
        minimize(
            loss_and_gradient,
            first[free],
            jac=True,
            method="BFGS",
            callback=after_step,
            options={"maxiter": how.steps, "gtol": 1e-6},
        )
    return Starts(start.flip[:1], best[0][None] * unit, np.array([best[1]])), np.array(history)


class _Adam:
    """Adam with a step size for each of b problems, halved where the loss has not fallen for PLATEAU steps."""

    def __init__(self, x: torch.Tensor, step: float) -> None:
        self.mean, self.square = torch.zeros_like(x), torch.zeros_like(x)
        self.step, self.first_step = torch.full((len(x), 1), step), step
        self.lowest, self.waited, self.number = torch.full((len(x),), torch.inf), torch.zeros(len(x)), 0

    def update(self, x: torch.Tensor, gradient: torch.Tensor, loss: torch.Tensor) -> None:
        improved = loss < self.lowest * (1 - 1e-3)
        self.lowest = torch.where(improved, loss, self.lowest)
        self.waited = torch.where(improved, 0.0, self.waited + 1)
        tired = self.waited >= PLATEAU
        self.step[tired] /= 2
        self.waited[tired] = 0
        self.number += 1
        self.mean = 0.9 * self.mean + 0.1 * gradient
        self.square = 0.99 * self.square + 0.01 * gradient**2
        mean = self.mean / (1 - 0.9**self.number)
        square = self.square / (1 - 0.99**self.number)
        x -= self.step * mean / (square.sqrt() + 1e-8)

    def converged(self, history: list[float], tolerance: float) -> bool:
        """Small steps, and little gained by the last ones."""
        if len(history) <= STEADY or float(self.step.max()) > self.first_step / 8:
            return False
        return history[-STEADY - 1] - history[-1] <= tolerance * history[-STEADY - 1]


def _starts(flip: np.ndarray, values: torch.Tensor, loss: torch.Tensor) -> Starts:
    return Starts(flip, values.detach().numpy().astype(np.float64), loss.detach().numpy().astype(np.float64))
