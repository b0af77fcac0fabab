"""Panels, forms, alerts, cards and the parts of the Data and Jobs pages."""

from __future__ import annotations

import dataclasses
import datetime
import math
from dataclasses import dataclass

import dash_bootstrap_components as dbc
import pytest

from core.errors import ConfigError, DataError
from core.options import option, options
from spatialmeta_app.components import alerts, cards, form, jobs, panel, sections
from spatialmeta_app.jobs.records import Job
from spatialmeta_app.services import forms
from spatialmeta_app.services.imports import Finding, Section
from spatialmeta_app.services.projects import Card, Picture
from spatialmeta_app.workspace.records import Project, Result
from tests.app.components.test_shell import texts


@dataclass(frozen=True)
class Settings:
    """A Config with every kind of option."""

    k: int = option(5, "neighbours taken", minimum=1, maximum=50)
    factor: float = option(1.5, "of the smallest spot distance", unit="×", minimum=0)
    direction: str = option("sm_to_st", "which way", choices=("sm_to_st", "st_to_sm"))
    log: bool = option(True, "take the logarithm")
    limit: float | None = option(None, "none: automatic", unit="µm")
    label: str | None = option(None, "name of a column", advanced=True)


def components(tree: object) -> list:
    """All components of a tree."""
    found = [tree, *tree._traverse()] if hasattr(tree, "_traverse") else []
    return [c for c in found if hasattr(c, "_traverse")]


def fields() -> dict[str, object]:
    built = components(form.config_form(Settings, "test"))
    return {c.id["option"]: c for c in built if isinstance(getattr(c, "id", None), dict)}


def test_a_form_has_a_fitting_field_for_every_option() -> None:
    found = fields()
    assert set(found) == {o.name for o in options(Settings)}
    assert isinstance(found["log"], dbc.Switch)
    assert [o["value"] for o in found["direction"].options] == ["sm_to_st", "st_to_sm"]
    assert (found["k"].min, found["k"].max, found["k"].step, found["k"].value) == (1, 50, 1, 5)
    assert found["limit"].placeholder == "automatic"


def test_a_form_says_meaning_unit_and_range_and_folds_the_advanced() -> None:
    built = form.config_form(Settings, "test")
    words = texts(built)
    for text in ("neighbours taken", "(1 – 50)", "(at least 0)", "×", "Advanced (1)"):
        assert text in words
    fold = next(c for c in components(built) if type(c).__name__ == "Details")
    assert [c.id["option"] for c in components(fold) if isinstance(getattr(c, "id", None), dict)] == ["label"]


def test_a_form_can_show_other_values_and_fewer_options() -> None:
    built = components(form.config_form(Settings, "test", values={"k": 9}, only=("k", "log"), without=("log",)))
    found = {c.id["option"]: c.value for c in built if isinstance(getattr(c, "id", None), dict)}
    assert found == {"k": 9}


def test_a_form_comes_back_as_the_config_it_was_made_of() -> None:
    found = fields()
    ids, values = [f.id for f in found.values()], [f.value for f in found.values()]
    assert forms.config(Settings, ids, values) == Settings()
    emptied = ["" if f.id["option"] in ("label", "limit") else f.value for f in found.values()]
    assert forms.config(Settings, ids, emptied) == Settings()
    assert forms.config(Settings, ids, values, k=7) == dataclasses.replace(Settings(), k=7)


@pytest.mark.parametrize(("name", "value"), [("k", 0), ("k", None), ("k", 2.5), ("direction", "up"), ("other", 1)])
def test_a_value_out_of_range_is_a_config_error(name: str, value: object) -> None:
    with pytest.raises(ConfigError):
        forms.config(Settings, [{"form": "test", "option": name}], [value])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3120, "3,120 spots"),
        (0.00012, "0.00012 spots"),
        (None, "–"),
        (math.nan, "–"),
        (1234.5678, "1,235 spots"),
        (2.5e11, "2.5e+11 spots"),
    ],
)
def test_numbers_for_people(value: float | None, text: str) -> None:
    assert panel.format_number(value, "spots") == text or value is None or math.isnan(value)
    assert (panel.format_number(value, "spots") == "–") == (value is None or math.isnan(value))


def test_checks_put_the_blocking_first_and_say_how_to_mend() -> None:
    found = [
        Finding("ok", "Values", "All finite.", ""),
        Finding("warning", "Histology", "There is no image.", "Give one."),
        Finding("blocking", "Counts", "They are fractions.", "Give raw counts."),
    ]
    items = panel.checks(found).children
    assert [texts(i).split(":")[0].strip() for i in items] == ["Blocking", "Warning", "In order"]
    assert "Give raw counts." in texts(items[0])


def test_one_alert_for_every_error() -> None:
    known = alerts.describe(DataError("raw counts", found="fractions", mend="Give layers['counts']."))
    assert known["title"] == "Found fractions"
    assert known["text"] == "Expected raw counts."
    assert known["mend"] == "Give layers['counts']."
    unknown = alerts.describe(ZeroDivisionError("secret path /root/x"))
    assert "secret" not in str(unknown)


def section(**changes: object) -> Section:
    result = Result("r1", "p", "s", "st", 0.0, summary={"n_obs": 3120, "n_vars": 13})
    given = {
        "kind": "st", "result": result, "job": None, "waits_for": "", "findings": (), "spatial_keys": (),
        "spatial_key": None,
    }  # fmt: skip
    return Section(**(given | changes))


def job(**changes: object) -> Job:
    given = dict.fromkeys(f.name for f in dataclasses.fields(Job))
    given |= {"id": "0123456789ab", "kind": "st", "project": "p", "sample": "s", "user": "ada", "config": {}}
    given |= {"inputs": {}, "state": "running", "fraction": 0.4, "message": "reading", "created": 0.0, "attempt": 1}
    return Job(**(given | {"resources": (), "numbers": {}} | changes))


def test_next_is_locked_with_the_reason() -> None:
    blocked = section(findings=(Finding("blocking", "Counts", "x", "y"),))
    missing = section(kind="sm", result=None)
    busy = section(job=job())
    for sections_, words in (
        ({"st": blocked, "sm": section()}, "ST has a blocking check."),
        ({"st": section(), "sm": missing}, "SM is missing."),
        ({"st": busy, "sm": section()}, "ST is being read."),
    ):
        built = sections.next_step(sections_, "/p")
        assert words in texts(built)
        assert [c.disabled for c in components(built) if isinstance(c, dbc.Button)] == [True]
    ready = sections.next_step({"st": section(), "sm": section()}, "/p")
    assert [c.href for c in components(ready) if hasattr(c, "href")] == ["/p/align"]
    alone = sections.next_step({"st": section(), "sm": missing}, "/p")
    assert [c.href for c in components(alone) if hasattr(c, "href")] == ["/p/features"]


def test_a_tile_tells_size_progress_and_failure() -> None:
    assert "3,120 spots × 13 genes" in texts(sections.section_tile(section()))
    assert "Reading · 40%" in texts(sections.section_tile(section(result=None, job=job())))
    failed = job(state="failed", error="Expected an h5ad file.")
    assert "Expected an h5ad file." in texts(sections.section_tile(section(result=None, job=failed)))
    waits = section(result=None, kind="sm", waits_for="the .ibd file with the spectra")
    assert "Waits for the .ibd file" in texts(sections.section_tile(waits))
    again = texts(sections.section_tile(section(kind="sm", waits_for="the .ibd file with the spectra")))
    assert "3,120 pixels" in again
    assert "Waits for the .ibd file" in again


def test_a_histology_without_its_section_says_what_it_waits_for() -> None:
    none, sm = section(result=None), section(kind="sm")
    assert "kept for the ST section" in texts(sections.tiles({"st": none, "sm": sm}, None, given=True)[2])
    for st, given in ((none, False), (section(), True)):
        assert "No image." in texts(sections.tiles({"st": st, "sm": sm}, None, given=given)[2])
    assert "image" not in texts(sections.tiles({"st": section(), "sm": sm}, "/image.jpg", given=True)[2])


def test_checks_are_counted_in_words() -> None:
    found = [Finding("blocking", "Counts", "x"), *(Finding("warning", name, "x") for name in ("Histology", "Size"))]
    st, sm = sections.check_panels({"st": section(findings=tuple(found)), "sm": section(findings=tuple(found[:2]))})
    assert "1 blocking, 2 warnings" in texts(st)
    assert "1 blocking, 1 warning" in texts(sm)
    assert "warnings" not in texts(sm)


def test_cards_tell_how_far_a_project_is() -> None:
    status = {"st": "done", "sm": "done", "align": "done", "reassign": "stale"}
    built = cards.project_card(Card(Project("p", "Brain", "ada", 0.0), 2, status, "/p/p/s/features", Picture()))
    assert "2 samples" in texts(built)
    bars = cards.progress(status)
    assert getattr(bars, "aria-label") == "2 of 6 steps done"
    marks = [getattr(bar, "data-mark") for bar in bars.children]
    assert marks == ["done", "done", "stale", "missing", "missing", "missing"]


def test_days_in_words() -> None:
    now = datetime.datetime.now().replace(hour=12)
    assert cards.day(now.timestamp()) == "today"
    assert cards.day((now - datetime.timedelta(days=1)).timestamp()) == "yesterday"
    assert cards.day(datetime.datetime(2024, 3, 2, 12).timestamp()) == "2 Mar 2024"


def test_the_table_of_jobs_offers_what_can_be_done() -> None:
    done = job(id="b", state="done", fraction=1.0, started=10.0, finished=95.0, user="eve")
    built = jobs.table([job(), done], {"s": "Section 1"}, "ada", "b")
    actions = {
        (c.id["jobs-action"], c.id["job"]) for c in components(built) if isinstance(getattr(c, "id", None), dict)
    }
    assert actions == {("show", "0123456789ab"), ("cancel", "0123456789ab"), ("show", "b"), ("again", "b")}
    words = texts(built)
    for text in ("1:25", "another person", "Section 1", "40%"):
        assert text in words
    assert "No job yet" in texts(jobs.table([], {}, "ada", None))


def test_a_job_in_full_hides_paths() -> None:
    words = texts(jobs.details(job(inputs={"file": "uploads/abc/st.h5ad"}, config={"k": 5}), "one line"))
    assert "st.h5ad" in words
    assert "uploads/" not in words
    assert "one line" in words


def test_a_cancelled_job_with_a_checkpoint_offers_to_go_on() -> None:
    stopped = [job(id="a", state="cancelled"), job(id="b", state="cancelled")]
    built = jobs.table(stopped, {"s": "Section 1"}, "ada", "b", resumable={"a"})
    ids = [c.id for c in components(built) if isinstance(getattr(c, "id", None), dict)]
    assert [i["job"] for i in ids if i["jobs-action"] == "resume"] == ["a"]
    assert [i["job"] for i in ids if i["jobs-action"] == "again"] == ["a", "b"]
