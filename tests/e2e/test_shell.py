"""The frame around all pages: pickers, steps, theme, keys, jobs, alerts."""

from __future__ import annotations

import json
import re
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.serving import Server


def new_project(page: Page, name: str = "Striatum 6-OHDA") -> str:
    """Make a project on the start page; returns the path of its Data page."""
    page.goto("/")
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Create project").click()
    page.wait_for_url("**/data")
    expect(page.locator(".sm-project")).to_contain_text(name)
    return page.url


def test_a_first_visit_says_what_to_do(page: Page, axe) -> None:
    page.goto("/")
    expect(page.get_by_text("No project of your own yet")).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "en"
    axe(page)


def test_a_project_is_listed_for_its_maker_only(page: Page, person) -> None:
    new_project(page, "Mine alone")
    page.goto("/")
    expect(page.locator(".sm-card-name", has_text="Mine alone")).to_be_visible()
    other = person()
    other.goto("/")
    expect(other.get_by_text("No project of your own yet")).to_be_visible()
    assert other.locator(".sm-card-name", has_text="Mine alone").count() == 0


def test_projects_are_deleted_after_a_question(page: Page) -> None:
    new_project(page, "To be deleted")
    page.goto("/")
    questions: list[str] = []
    page.on("dialog", lambda d: (questions.append(d.message), d.accept()))
    page.get_by_role("button", name="Delete project To be deleted").click()
    expect(page.get_by_text("No project of your own yet")).to_be_visible()
    assert "To be deleted" in questions[0]


def test_pickers_rename_add_and_switch(page: Page) -> None:
    new_project(page)
    page.locator(".sm-project .dropdown-toggle").click()
    page.get_by_text("Rename project").click()
    page.get_by_placeholder("Name of the project").fill("Substantia nigra")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".sm-project .dropdown-toggle")).to_contain_text("Substantia nigra")

    first = page.url
    page.locator(".sm-sample .dropdown-toggle").click()
    page.get_by_text("New sample").click()
    expect(page.get_by_placeholder("Name of the new sample")).to_be_focused()
    page.keyboard.type("V11L12-109_A1")  # over the name that is suggested
    page.keyboard.press("Enter")
    expect(page.locator(".sm-sample .sm-place-name")).to_have_text("V11L12-109_A1")
    assert page.url != first

    page.locator(".sm-sample .dropdown-toggle").click()
    page.locator(".sm-sample .dropdown-item", has_text="Sample 1").click()
    page.wait_for_url(first)


def test_an_empty_name_is_one_alert(page: Page) -> None:
    page.goto("/")
    page.get_by_role("button", name="Create project").click()
    expect(page.locator(".sm-toast")).to_have_count(1)
    expect(page.locator(".sm-toast")).to_contain_text("Expected a name.")
    page.locator(".sm-toast").get_by_label("Dismiss").click()
    expect(page.locator(".sm-toast")).to_have_count(0)


def test_steps_lead_through_the_work_and_keys_do(page: Page) -> None:
    new_project(page)
    steps = page.get_by_role("navigation", name="Steps of the work")
    names = ["Data", "Align", "Reassign", "Features", "Integrate", "Explore", "Export"]
    expect(steps.get_by_role("link")).to_have_text(names)
    expect(steps.locator("[aria-current=step]")).to_have_text("Data")
    page.keyboard.type("gx")  # in one go: the second key counts for about a second
    page.wait_for_url("**/export")
    expect(steps.locator("[aria-current=step]")).to_have_text("Export")
    page.keyboard.press("?")
    page.wait_for_url("**/help")


def test_undo_and_redo_are_events_for_explore(page: Page) -> None:
    page.goto("/help")
    undo = page.get_by_role("button", name="Undo")
    expect(undo).to_be_disabled()
    page.evaluate(
        """() => {
            window.heard = [];
            ['undo', 'redo'].forEach(n => document.addEventListener('sm:' + n, () => window.heard.push(n)));
        }"""
    )
    page.keyboard.press("Control+z")
    for name in ("undo", "redo"):
        page.evaluate("name => window.dash_clientside.set_props(name, {disabled: false})", name)
    expect(undo).to_be_enabled()
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+Shift+Z")
    undo.click()
    assert page.evaluate("window.heard") == ["undo", "redo", "undo"]


@pytest.mark.parametrize("preferred", ["light", "dark"])
def test_theme_follows_the_system_then_the_person(person, preferred: str) -> None:
    page = person(color_scheme=preferred)
    page.goto("/")
    html = page.locator("html")
    expect(html).to_have_attribute("data-bs-theme", preferred)
    page.get_by_role("button", name=re.compile("theme")).click()
    other = {"light": "dark", "dark": "light"}[preferred]
    expect(html).to_have_attribute("data-bs-theme", other)
    page.reload()
    expect(html).to_have_attribute("data-bs-theme", other)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_serious_accessibility_violation(person, axe, theme: str) -> None:
    page = person(color_scheme=theme)
    data = new_project(page)
    expect(page.locator(".sm-tile")).to_have_count(3)
    axe(page)
    page.goto(data.rsplit("/", 2)[0] + "/jobs")
    expect(page.get_by_text("No job yet")).to_be_visible()
    axe(page)
    page.goto("/help")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    axe(page)
    page.goto("/")
    expect(page.locator(".sm-card")).to_have_count(1)
    axe(page)


def test_an_address_that_does_not_exist_says_so(page: Page) -> None:
    page.goto("/p/none/none/data")
    expect(page.get_by_role("link", name="All projects").last).to_be_visible()


def test_pages_fit_into_1280_by_800(person) -> None:
    page = person()
    page.set_viewport_size({"width": 1280, "height": 800})
    new_project(page)
    expect(page.locator(".sm-tile")).to_have_count(3)
    size = page.evaluate("[document.documentElement.scrollHeight, document.documentElement.scrollWidth]")
    assert size == [800, 1280]


def test_jobs_are_the_same_in_every_tab_and_after_a_reload(page: Page, app_server: Server) -> None:
    data = new_project(page)
    project, sample = data.split("/")[-3:-1]
    fill_slot(app_server, page, project, sample)
    page.reload()
    tray = page.locator("#tray")
    expect(tray).to_contain_text("ST import")
    expect(tray).to_contain_text("ST import failed", timeout=60_000)
    second = page.context.new_page()
    second.goto(data)
    expect(second.locator("#tray")).to_contain_text("ST import failed")
    second.keyboard.press("j")
    panel = second.get_by_role("region", name="Jobs of this project")
    expect(panel).to_be_visible()
    panel.get_by_role("button", name="Log").click()
    expect(panel.locator(".sm-log")).to_contain_text("attempt 1")
    second.keyboard.press("Escape")
    expect(panel).to_be_hidden()


def test_a_failed_job_is_told_and_can_be_run_again(page: Page, app_server: Server) -> None:
    data = new_project(page)
    project, sample = data.split("/")[-3:-1]
    fill_slot(app_server, page, project, sample)
    page.goto(f"/p/{project}/jobs")
    row = page.locator("tbody tr")
    expect(row.first).to_contain_text("failed", timeout=60_000)
    row.first.get_by_role("button", name="Run again").click()
    expect(row).to_have_count(2)
    expect(row.first).to_contain_text("failed", timeout=60_000)
    expect(page.locator(".sm-log")).to_contain_text("attempt 1")


def fill_slot(server: Server, page: Page, project: str, sample: str) -> None:
    """Upload bytes that are no h5ad through the API; the page hears of the import by itself."""
    cookies = "; ".join(f"{c['name']}={c['value']}" for c in page.context.cookies())

    def call(method: str, path: str, body: bytes = b"", **headers: str) -> dict:
        given = {"X-SpatialMETA": "1", "Cookie": cookies} | {k.replace("_", "-"): v for k, v in headers.items()}
        with urlopen(Request(server.url + path, data=body, method=method, headers=given)) as answer:
            return json.loads(answer.read())

    content = b"this is no HDF5 file" * 100
    about = {"project": project, "sample": sample, "slot": "st", "filename": "broken.h5ad", "size": len(content)}
    upload = call("POST", "/api/uploads", json.dumps(about).encode(), Content_Type="application/json")
    call("PATCH", f"/api/uploads/{upload['id']}", content, Upload_Offset="0", Content_Type="application/octet-stream")
    call("POST", f"/api/uploads/{upload['id']}/finish")
    expect(page.locator("#tray")).to_contain_text("ST import")


def test_what_comes_too_late_for_a_page_changes_nothing(page: Page) -> None:
    """A timer of a page that was left, for a store or for a part of a form that this page has not."""
    page.goto("/")
    title = page.get_by_role("heading", level=1)
    expect(title).to_be_visible()
    before = page.locator("body").inner_text()
    page.evaluate(
        "() => { SpatialMeta.setProps('align-manual', { data: 1 });"
        " SpatialMeta.setProps({ form: 'features', part: 'touched' }, { children: 'lost' });"
        " SpatialMeta.setProps('undo', { disabled: false }); }"
    )
    expect(page.locator("#undo")).to_be_enabled()  # what is there is reached
    assert page.locator("body").inner_text() == before
