import numpy as np
import torch
from torch.distributions import Normal, kl_divergence

from core.vae.losses import KERNEL_WIDTHS, kl_to_standard_normal, mmd


def test_kl_is_that_of_torch():
    torch.manual_seed(0)
    mean, sigma = torch.randn(9, 4, dtype=torch.double), torch.rand(9, 4, dtype=torch.double) + 0.1
    expected = kl_divergence(Normal(mean, sigma), Normal(0.0, 1.0)).sum()
    torch.testing.assert_close(kl_to_standard_normal(mean, sigma), expected)


def mmd_by_loops(x: np.ndarray, y: np.ndarray) -> float:
    def mean_kernel(a, b):
        total = 0.0
        for u in a:
            for v in b:
                total += sum(np.exp(-((u - v) ** 2).sum() / (2 * w)) for w in KERNEL_WIDTHS)
        return total / (len(a) * len(b))

    return mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y)


def test_mmd_is_the_sum_over_pairs_of_the_double_loop():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(17, 3))
    group = rng.integers(3, size=17)
    x[group == 2] += 1.5
    parts = [x[group == k] for k in range(3)]
    expected = sum(mmd_by_loops(parts[i], parts[j]) for i in range(3) for j in range(i + 1, 3))
    found = mmd(torch.from_numpy(x), torch.from_numpy(group), 3)
    np.testing.assert_allclose(found.item(), expected, rtol=1e-5)


def test_mmd_ignores_groups_without_rows():
    x = torch.randn(10, 2, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    group = torch.tensor([0, 3] * 5)
    torch.testing.assert_close(mmd(x, group, 7), mmd(x, group.clamp_max(1), 2))
    assert mmd(x, torch.zeros(10, dtype=torch.long), 2).item() == 0


def test_mmd_gradient_is_finite_for_equal_points():
    x = torch.zeros(6, 2, dtype=torch.double, requires_grad=True)
    mmd(x, torch.tensor([0, 0, 0, 1, 1, 1]), 2).backward()
    assert torch.isfinite(x.grad).all()


def test_mmd_gradient_by_finite_differences():
    torch.manual_seed(3)
    x = (3 * torch.randn(9, 2, dtype=torch.double)).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: mmd(x, torch.arange(9) % 3, 3), x)
