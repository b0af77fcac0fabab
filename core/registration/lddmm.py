"""A diffeomorphism varphi before the linear map, phi(x) = R S varphi(x) + t (paper, eq. 1-7), and its fit. Torch.

varphi is the end of the flow dx/dt = v(t, x) over t in [0, 1] (large deformation diffeomorphic metric mapping: Beg et
al., Int. J. Comput. Vis. 2005), its velocity piecewise constant in time and bilinear on a grid in space. The norm of
the velocity is that of the operator (1 - a² Laplacian / 4)^2, applied in Fourier space: v = K w with one number w for
each node, whose energy is half the squared norm. Where w is white noise of variance 1, v is a random field of standard
deviation 1 spot distance whose correlation reaches about a: so `reach` (a) and the energy mean the same on every grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from core.errors import NotConvergedError
from core.registration.diffeomorphism import Diffeomorphism, steepness
from core.registration.losses import Map, Objective
from core.registration.optimise import LinearMap
from core.registration.starts import Starts

NODES_PER_REACH = 3.0
STEEPEST = 0.7  # of a time step, see Diffeomorphism
CHUNK = 4  # steps of the quasi-Newton method between two looks at the outcome


@dataclass(frozen=True)
class Deforming:
    """How to deform. Lengths in spot distances.

    Attributes
    ----------
    reach
        Over which distance neighbours move alike.
    usual
        Standard deviation of the deformations that are to be expected, along each axis: the energy counts 1 / usual².
    times
        Steps in time of the velocity.
    steps
        At most so many of the descent in each round.
    tolerance
        Converged when the loss falls by less than this over CHUNK steps.
    """

    reach: float
    usual: float
    times: int
    steps: int
    tolerance: float


@dataclass(frozen=True)
class Deformed:
    """What :func:`deform` found.

    Attributes
    ----------
    flow
        varphi, of SM working units.
    linear
        R, S and t, fitted together with it; one start, its loss that of the whole map, energy included.
    energy
        Half the squared norm of the velocity.
    history
        The loss after every chunk of the last round.
    stopped
        'converged', 'steps' or 'cancelled'.
    """

    flow: Diffeomorphism
    linear: Starts
    energy: float
    history: np.ndarray
    stopped: str


class Grid:
    """Nodes around a section, far enough beyond it that the periodic kernel does not join opposite sides."""

    def __init__(self, low: np.ndarray, high: np.ndarray, how: Deforming) -> None:
        self.pitch = how.reach / NODES_PER_REACH
        self.origin = low - how.reach
        columns, rows = np.ceil((high - low + 2 * how.reach) / self.pitch).astype(int) + 1
        self.shape = (int(rows), int(columns))
        wave = [2 * np.pi * np.fft.fftfreq(n, self.pitch) for n in self.shape]
        kernel = (1 + how.reach**2 * (wave[0][:, None] ** 2 + wave[1] ** 2) / 4) ** -2.0
        kernel /= np.sqrt((kernel**2).mean())
        self.kernel = torch.as_tensor(kernel[:, : columns // 2 + 1], dtype=torch.float32)

    def velocity(self, noise: torch.Tensor) -> torch.Tensor:
        """K w of *noise* (times, 2, rows, columns), in the same shape."""
        return torch.fft.irfft2(torch.fft.rfft2(noise) * self.kernel, s=self.shape)


class DeformedMap:
    """One map (b = 1): the flow of a velocity, then a linear map. A :class:`core.registration.losses.Map`."""

    def __init__(self, grid: Grid, velocity: torch.Tensor, linear: LinearMap) -> None:
        self.velocity, self.linear, self.pitch = velocity, linear, grid.pitch
        self.origin = torch.as_tensor(grid.origin, dtype=velocity.dtype)
        self.last = torch.tensor([grid.shape[1] - 1, grid.shape[0] - 1], dtype=velocity.dtype)

    def forward(self, xy: torch.Tensor) -> torch.Tensor:
        for velocity in self.velocity:
            xy = xy + self._at(velocity, xy) / len(self.velocity)
        return self.linear.forward(xy)

    def back(self, xy: torch.Tensor) -> torch.Tensor:
        """To within the square of a time step's way."""
        xy = self.linear.back(xy)[0]
        for velocity in reversed(self.velocity):
            xy = xy - self._at(velocity, xy) / len(self.velocity)
        return xy[None]

    def _at(self, velocity: torch.Tensor, xy: torch.Tensor) -> torch.Tensor:
        where = 2 * (xy - self.origin) / (self.pitch * self.last) - 1
        read = torch.nn.functional.grid_sample(
            velocity[None], where[None, None], mode="bilinear", padding_mode="border", align_corners=True
        )
        return read[0, :, 0].T


def deform(
    rounds: Sequence[Callable[[Map], Objective]],
    start: Starts,
    outline_xy: np.ndarray,
    how: Deforming,
    *,
    watch: Callable[[float, Deformed, dict[str, float]], bool] | None = None,
) -> Deformed:
    """The flow, and the linear map after it, that minimise an objective plus the energy over usual².

    A quasi-Newton descent (L-BFGS) on the numbers w at the nodes, in which the energy is a sphere: as steep as anything
    else, whatever the grid.

    Parameters
    ----------
    rounds
        Each makes an objective from the map so far (which resolution, which outlines to trust), and goes on from there.
    start
        The linear map to begin with; its first start is taken.
    outline_xy
        (n, 2) of SM in working units: what the grid has to hold.
    watch
        ``watch(fraction, so_far, terms)`` after every chunk of steps; a true answer stops and keeps what there is.

    Raises
    ------
    NotConvergedError
        The loss left the finite numbers.
    """
    grid = Grid(outline_xy.min(axis=0), outline_xy.max(axis=0), how)
    radius = float(np.sqrt((outline_xy**2).sum(axis=1).mean()))
    unit = torch.tensor([1 / radius] * 4 + [1.0, 1.0])
    noise = torch.zeros(how.times, 2, *grid.shape, requires_grad=True)
    x = (torch.as_tensor(start.values[:1], dtype=torch.float32) / unit).requires_grad_()
    flip = torch.as_tensor(start.flip[:1])
    problem = _Problem(grid, noise, x, unit, flip, how)
    for number, make in enumerate(rounds):
        with torch.no_grad():
            objective = make(problem.map())
        history: list[float] = []
        descent = torch.optim.LBFGS(
            [noise, x],
            max_iter=CHUNK,
            history_size=10,
            line_search_fn="strong_wolfe",
            tolerance_change=0,
            tolerance_grad=0,
        )
        stopped = "steps"
        for chunk in range(0, how.steps, CHUNK):
            history.append(problem.improve(descent, objective))
            if watch is not None:
                done = (number + (chunk + CHUNK) / how.steps) / len(rounds)
                so_far = problem.outcome(history, "cancelled")
                if watch(min(done, 1.0), so_far, problem.terms(objective)):
                    return so_far
            if len(history) > 1 and history[-2] - history[-1] <= how.tolerance:
                stopped = "converged"
                break
    return problem.outcome(history, stopped)


@dataclass(frozen=True)
class _Problem:
    """Parameters of a deformed map: *noise* (times, 2, rows, columns), and *x* (1, 6), the linear ones over *unit*."""

    grid: Grid
    noise: torch.Tensor
    x: torch.Tensor
    unit: torch.Tensor
    flip: torch.Tensor
    how: Deforming

    def map(self) -> DeformedMap:
        return DeformedMap(self.grid, self.grid.velocity(self.noise), LinearMap(self.flip, self.x * self.unit))

    def energy(self) -> torch.Tensor:
        return (self.noise**2).sum() / (2 * self.how.times)

    def improve(self, descent: torch.optim.LBFGS, objective: Objective) -> float:
        """A chunk of steps; the loss before the last of them."""
        last = [torch.inf]

        def loss() -> torch.Tensor:
            descent.zero_grad()
            total = objective(self.map()).sum() + self.energy() / self.how.usual**2
            total.backward()
            last[0] = min(last[0], float(total.detach()))
            return total

        descent.step(loss)
        if not np.isfinite(last[0]):
            raise NotConvergedError("a finite loss", found="NaN or infinity")
        return last[0]

    @torch.no_grad()
    def terms(self, objective: Objective) -> dict[str, float]:
        return {name: float(term[0]) for name, term in objective.terms_of(self.map()).items()}

    @torch.no_grad()
    def outcome(self, history: list[float], stopped: str) -> Deformed:
        velocity = self.grid.velocity(self.noise).numpy().astype(np.float64)
        while steepness(velocity, self.grid.pitch) >= STEEPEST:
            velocity = np.repeat(velocity, 2, axis=0)  # the same flow in smaller steps, which can be undone
        flow = Diffeomorphism(tuple(float(v) for v in self.grid.origin), float(self.grid.pitch), velocity)
        values = (self.x * self.unit).numpy().astype(np.float64)
        linear = Starts(self.flip.numpy(), values, np.array(history[-1:]))
        return Deformed(flow, linear, float(self.energy()), np.array(history), stopped)
