import numpy as np
import pytest

from benchmarks.scores import batch_asw, cilisi, ilisi, shuffled

FAR = 100.0


def heaps(*sizes: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embedding, sample and place: at each place so many spots of sample 'a' and 'b', next to nothing apart."""
    place = np.repeat(np.arange(len(sizes)), [sum(size) for size in sizes])
    sample = np.concatenate([np.repeat(["a", "b"], size) for size in sizes])
    z = np.random.default_rng(0).standard_normal((len(place), 4)) * 1e-3
    z[:, 0] += FAR * place
    return z, sample, place


def test_ilisi_of_known_neighbours():
    z, sample, _ = heaps((31, 0), (16, 15), (0, 31))  # 30 neighbours are all others of the place
    assert ilisi(z, sample) == 0  # more than half of the spots are among their own
    z, sample, _ = heaps((16, 15))
    assert ilisi(z, sample) == pytest.approx(1)  # 16 of the spots have 15 and 15 neighbours
    z, sample, _ = heaps((11, 20))
    assert ilisi(z, sample) == pytest.approx(900 / (11**2 + 19**2) - 1)


def test_ilisi_within_domains_gives_nothing_for_domains_on_each_other():
    z, sample, _ = heaps((62, 62))
    domain = np.where(sample == "a", "one", "other")
    domain[:31], domain[31:62] = "one", "both"
    domain[62:93], domain[93:] = "other", "both"
    z[domain == "both", 0] += FAR * np.where(sample[domain == "both"] == "a", 1, 2)  # not mixed at all
    assert ilisi(z[domain != "both"], sample[domain != "both"]) > 0.9
    assert cilisi(z, sample, domain) == 0
    z, sample, place = heaps((16, 15), (11, 20))
    mixed = [30**2 / (15**2 + 15**2), 30**2 / (16**2 + 14**2), 30**2 / (10**2 + 20**2), 30**2 / (11**2 + 19**2)]
    expected = np.average(np.array(mixed) - 1, weights=[16, 15, 11, 20])
    assert cilisi(z, sample, place.astype(str)) == pytest.approx(expected)


def test_batch_asw_of_samples_apart_and_at_one_place():
    z, sample, _ = heaps((40, 0), (0, 40))
    assert batch_asw(z, sample, np.full(80, "d")) == pytest.approx(0, abs=1e-3)
    z = np.random.default_rng(1).standard_normal((4000, 10))
    sample = np.array(["a", "b"])[np.arange(4000) % 2]
    assert batch_asw(z, sample, np.full(4000, "d")) > 0.99


def test_shuffled_samples_keep_the_composition_of_each_domain_and_nothing_else():
    sample, domain = np.repeat(["a", "b"], 300), np.repeat(["x", "y", "x", "y"], [200, 100, 50, 250])
    found = shuffled(sample, domain)
    for name in "xy":
        assert (np.sort(found[domain == name]) == np.sort(sample[domain == name])).all()
    assert 0.4 < (found == sample).mean() < 0.8
    z = (sample == "a")[:, None] * FAR + np.random.default_rng(2).standard_normal((600, 3))
    assert batch_asw(z, sample, domain) < 0.1
    assert batch_asw(z, found, domain) > 0.8  # less than 1: two heaps are a shape in which chance differences count
