"""Two people train at the same time on one server, and a third waits: each sees and gets what is theirs."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from core import keys
from spatialmeta_app.config import Settings
from spatialmeta_app.jobs import JobStore
from tests.e2e.seeding import Seeded, follow, seed
from tests.e2e.serving import Server, running
from tests.e2e.test_steps import CURVE, STEP_MS, field, part, visit

EPOCHS = 400
LONG = 4 * EPOCHS  # of who begins: still at it when the other, whose process has imports to do, trains too


@pytest.fixture(scope="module")
def app_server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("served") / "data", demo="0", min_free_bytes="0", workers="2") as server:
        yield server


def train(page: Page, seeded: Seeded, number: int, epochs: int = EPOCHS) -> None:
    """Press Train with a seed of one's own, for all of *epochs*."""
    visit(page, seeded, "integrate")
    field(page, "integrate", "epochs").fill(str(epochs))
    page.locator("summary", has_text="Advanced").first.click()
    field(page, "integrate", "patience").fill(str(epochs))
    field(page, "integrate", "seed").fill(str(number))
    page.get_by_role("button", name="Train", exact=True).click()


def losses(store: JobStore, seeded: Seeded) -> list[float]:
    job = next(job for job in store.jobs(seeded.sample.project) if job.kind == "integrate")
    return [event["numbers"]["loss"] for event in store.events(job)]


def drawn(page: Page) -> list[float]:
    return page.evaluate(
        """() => { const plot = document.querySelector('[id*=curves] .js-plotly-plot');
          return Array.from(plot.data[plot.layout.meta.terms.indexOf('loss')].y); }"""
    )


def alone(store: JobStore, seeded: Seeded, config: dict) -> np.ndarray:
    """The joint embedding of the same training while nobody else is on the server."""
    job = store.submit("integrate", project=seeded.sample.project, sample=seeded.sample, user="alone", config=config)
    end = time.monotonic() + STEP_MS / 1000
    while store.get(job).active and time.monotonic() < end:
        time.sleep(0.1)
    return seeded.read("integrate").obsm[keys.X_EMB]


def test_two_train_at_once_and_a_third_waits(person, app_server: Server) -> None:
    store = JobStore(Settings(data=app_server.data, min_free_bytes=0))
    adas, bobs, carols = (follow(seed(app_server, aligned=True), "reassign", "features") for _ in range(3))
    ada, bob, carol = person(), person(), person()
    train(ada, adas, 1, LONG)
    with app_server.held("integrate", "epoch"):
        train(bob, bobs, 2)
        expect(part(bob, "integrate", "message")).to_contain_text("starting")
        train(carol, carols, 3)
        expect(part(carol, "integrate", "message")).to_have_text("Waits for its turn · 1 job before it")
        carol.get_by_role("button", name="Cancel Integrate").click()
        expect(part(carol, "integrate", "message")).to_have_text("Cancelled.")
    with app_server.held("integrate", "epoch", bobs.sample.project):
        ada.reload()
        for page, seeded in ((ada, adas), (bob, bobs)):
            expect(part(page, "integrate", "message")).to_contain_text("epoch")
            page.wait_for_function(f"() => {CURVE} > 0")
            page.wait_for_function(f"n => {CURVE} === n", arg=len(losses(store, seeded)))
            assert drawn(page) == pytest.approx(losses(store, seeded))  # one's own and not the other's
        bob.get_by_role("button", name="Cancel Integrate").click()
    expect(part(bob, "integrate", "message")).to_have_text("Cancelled.")
    bob.get_by_role("button", name="Resume Integrate").click()
    for page, seeded, epochs in ((ada, adas, LONG), (bob, bobs, EPOCHS)):
        expect(page.locator(".sm-version")).to_have_count(2, timeout=STEP_MS)  # the model's and the clusters'
        trained = seeded.read("integrate").uns[keys.UNS][keys.TRAINING]["terms"]["loss"]
        assert list(trained) == pytest.approx(losses(store, seeded))
        assert len(trained) == epochs
    config = bobs.chosen("integrate").config
    assert (adas.chosen("integrate").config["seed"], config["seed"]) == (1, 2)
    together = bobs.read("integrate").obsm[keys.X_EMB]
    np.testing.assert_array_equal(together, alone(store, carols, config))  # and nobody else's share in it
