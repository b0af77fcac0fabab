from __future__ import annotations

import dataclasses
import io
import os
import time

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from core.context import Context
from core.errors import Cancelled, StorageError
from spatialmeta_app.workspace import Conflict, NotFound, Workspace, WorkspaceError
from spatialmeta_app.workspace.records import DEMO
from spatialmeta_app.workspace.uploads import safe_name


class Cut(io.RawIOBase):
    """A request body that breaks off after *good* bytes, as a lost connection does."""

    def __init__(self, data: bytes, good: int) -> None:
        self._data, self._left = io.BytesIO(data), good

    def read(self, size: int = -1) -> bytes:
        if self._left == 0:
            raise ConnectionResetError
        piece = self._data.read(min(size, self._left))
        self._left -= len(piece)
        return piece


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=400), steps=st.lists(st.tuples(st.integers(1, 120), st.integers(0, 130)), max_size=20))
def test_cuts_at_any_place_lose_and_double_nothing(workspace, settings, data, steps):
    project = workspace.create_project("p", "ada")
    upload = workspace.uploads.start(project.id, None, "st", "a.h5ad", len(data), user="ada")
    for length, good in steps:
        uploads = Workspace(settings).uploads  # a server that was started again
        offset = uploads.offset(upload)
        piece = data[offset : offset + length]
        if not piece:
            break
        if good < len(piece):
            with pytest.raises(ConnectionResetError):
                uploads.append(upload, offset, Cut(piece, good))
            assert uploads.offset(upload) == offset + good
        else:
            assert uploads.append(upload, offset, io.BytesIO(piece)) == offset + len(piece)
        wrong = uploads.offset(upload) + 1
        with pytest.raises(Conflict) as caught:
            uploads.append(upload, wrong, io.BytesIO(b"x"))
        assert caught.value.current == wrong - 1
    offset = workspace.uploads.offset(upload)
    if offset < len(data):
        with pytest.raises(Conflict) as caught:
            workspace.uploads.finish(upload)
        assert caught.value.current == offset
        workspace.uploads.append(upload, offset, io.BytesIO(data[offset:]))
    workspace.uploads.finish(upload)
    assert workspace.uploads.resolve(project.id, upload.path).read_bytes() == data


def test_more_bytes_than_announced_are_refused(workspace, project):
    upload = workspace.uploads.start(project.id, None, "st", "a.h5ad", 3, user="ada")
    with pytest.raises(WorkspaceError, match="3 bytes"):
        workspace.uploads.append(upload, 0, io.BytesIO(b"12345"))
    assert workspace.uploads.path(upload).read_bytes() == b"123"


def test_a_finished_upload_takes_no_bytes_and_finishes_again(workspace, project):
    upload = workspace.uploads.start(project.id, None, "st", "a.h5ad", 0, user="ada")
    done = workspace.uploads.finish(upload)
    assert workspace.uploads.finish(upload) == done
    with pytest.raises(Conflict):
        workspace.uploads.append(done, 0, io.BytesIO(b"x"))


def test_two_requests_can_not_write_at_the_same_time(workspace, project):
    upload = workspace.uploads.start(project.id, None, "st", "a.h5ad", 4, user="ada")

    class Second(io.RawIOBase):
        """While the first request is being read, another comes for the same bytes."""

        asked = False

        def read(self, size=-1):
            if self.asked:
                return b""
            self.asked = True
            with pytest.raises(Conflict):
                workspace.uploads.append(upload, 0, io.BytesIO(b"zzzz"))
            return b"1234"

    assert workspace.uploads.append(upload, 0, Second()) == 4
    assert workspace.uploads.path(upload).read_bytes() == b"1234"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\a\\sample.h5ad", "sample.h5ad"),
        (".bashrc", "bashrc"),
        ("a\x00b\n.h5ad", "a_b_.h5ad"),
        ("Schnitt Größe (1).imzML", "Schnitt Größe (1).imzML"),
        ("-rf", "-rf"),
        ('<img src="x">.csv', "_img src__x__.csv"),
    ],
)
def test_names_are_made_harmless(name, safe):
    assert safe_name(name) == safe


@pytest.mark.parametrize("name", ["", "..", "/", "...", "///..", "\x00"])
def test_names_of_which_nothing_is_left_are_refused(name):
    with pytest.raises(WorkspaceError):
        safe_name(name)


@given(st.text(max_size=300))
def test_any_name_stays_one_file_in_its_folder(name):
    try:
        safe = safe_name(name)
    except WorkspaceError:
        return
    assert "/" not in safe
    assert "\x00" not in safe
    assert not safe.startswith(".")
    assert 0 < len(safe.encode()) <= 150


def test_long_names_keep_their_ending():
    assert safe_name("ä" * 300 + ".imzML").endswith("ä.imzML")


@pytest.mark.parametrize("size", [-1, 1.5, True, "12", None])
def test_sizes_that_are_none_are_refused(workspace, project, size):
    with pytest.raises(WorkspaceError):
        workspace.uploads.start(project.id, None, "st", "a.h5ad", size, user="ada")


def test_unknown_slots_projects_and_samples_are_refused(workspace, project, sample):
    other = workspace.create_project("other", "bob")
    with pytest.raises(WorkspaceError):
        workspace.uploads.start(project.id, None, "exe", "a.h5ad", 1, user="ada")
    with pytest.raises(NotFound):
        workspace.uploads.start("nobody", None, "st", "a.h5ad", 1, user="ada")
    with pytest.raises(NotFound):
        workspace.uploads.start(other.id, sample.id, "st", "a.h5ad", 1, user="ada")


def test_the_demonstration_takes_no_files(workspace):
    workspace.create_project("Demonstration", DEMO, id=DEMO)
    with pytest.raises(WorkspaceError):
        workspace.uploads.start(DEMO, None, "st", "a.h5ad", 1, user="ada")


def test_unfinished_uploads_expire_after_their_last_byte(settings):
    workspace = Workspace(dataclasses.replace(settings, quota_bytes=1000, upload_days=7))
    uploads, project = workspace.uploads, workspace.create_project("p", "ada")
    left, going_on, whole = (uploads.start(project.id, None, "st", f"{n}.h5ad", 300, user="ada") for n in "abc")
    uploads.append(whole, 0, io.BytesIO(bytes(300)))
    uploads.finish(whole)
    day = 86_400.0
    os.utime(uploads.path(going_on), (time.time() + 5 * day,) * 2)
    assert uploads.expire(time.time() + 6.9 * day) == 0
    assert Workspace(dataclasses.replace(settings, upload_days=0)).uploads.expire(time.time() + 99 * day) == 0
    assert workspace.bytes_used(project) == 900
    assert uploads.expire(time.time() + 7.1 * day) == 1
    assert workspace.bytes_used(project) == 600
    assert {u.id for u in uploads.list(project.id)} == {going_on.id, whole.id}
    with pytest.raises(NotFound):
        uploads.get(left)
    assert not uploads.folder(left).exists()


def test_the_quota_counts_announced_bytes(settings):
    workspace = Workspace(dataclasses.replace(settings, quota_bytes=1000))
    project = workspace.create_project("p", "ada")
    workspace.uploads.start(project.id, None, "st", "a.h5ad", 600, user="ada")
    with pytest.raises(WorkspaceError, match="600 bytes"):
        workspace.uploads.start(project.id, None, "sm", "b.h5ad", 600, user="ada")
    first = workspace.uploads.list(project.id)[0]
    workspace.uploads.delete(first)
    workspace.uploads.start(project.id, None, "sm", "b.h5ad", 600, user="ada")


def test_the_largest_file_and_the_free_disk(settings):
    workspace = Workspace(dataclasses.replace(settings, max_upload_bytes=100))
    project = workspace.create_project("p", "ada")
    with pytest.raises(WorkspaceError, match="100 bytes"):
        workspace.uploads.start(project.id, None, "st", "a.h5ad", 101, user="ada")
    full = Workspace(dataclasses.replace(settings, min_free_bytes=1 << 60))
    with pytest.raises(StorageError, match="free"):
        full.uploads.start(project.id, None, "st", "a.h5ad", 1, user="ada")


@pytest.mark.parametrize("path", ["../../../etc/passwd", "uploads/x/y", "uploads/../../x", "/etc/passwd", ""])
def test_job_inputs_stay_in_the_project(workspace, project, path):
    with pytest.raises(NotFound):
        workspace.uploads.resolve(project.id, path)


def test_job_inputs_of_other_projects_and_half_uploads_are_refused(workspace, project):
    upload = workspace.uploads.start(project.id, None, "st", "a.h5ad", 0, user="ada")
    with pytest.raises(NotFound):
        workspace.uploads.resolve(project.id, upload.path)
    workspace.uploads.finish(upload)
    assert workspace.uploads.resolve(project.id, upload.path).exists()
    other = workspace.create_project("other", "bob")
    with pytest.raises(NotFound):
        workspace.uploads.resolve(other.id, upload.path)


@pytest.fixture
def roots(settings, tmp_path):
    root = tmp_path / "allowed"
    (root / "run").mkdir(parents=True)
    (root / "a.h5ad").write_bytes(b"abc")
    (root / ".hidden").touch()
    (root / "run" / "matrix.h5").write_bytes(b"12345")
    (tmp_path / "secret").write_text("secret")
    return dataclasses.replace(settings, import_roots=str(root)), root


class Words(Context):
    """Keeps what it is told; asks to stop after *most* words."""

    def __init__(self, most: float = float("inf")) -> None:
        self.said: list[tuple[float, str]] = []
        self.most = most

    def progress(self, fraction: float, message: str, **numbers: float) -> None:
        self.said.append((fraction, message))

    def cancelled(self) -> bool:
        return len(self.said) >= self.most


def test_files_and_folders_of_allowed_folders_are_copied(roots):
    settings, root = roots
    workspace = Workspace(dataclasses.replace(settings, max_upload_bytes=4))  # a limit of what travels to the server
    project, folders = workspace.create_project("p", "ada"), workspace.server_folders
    assert folders.browse() == [root]
    assert [p.name for p in folders.browse(root)] == ["run", "a.h5ad"]
    taken = [folders.take(project.id, root / name, slot="st", user="ada") for name in ("a.h5ad", "run")]
    assert [upload.size for upload in taken] == [3, 5]
    with pytest.raises(NotFound):  # room is made, and nothing is copied yet
        workspace.uploads.resolve(project.id, taken[0].path)
    paths, words = [upload.path for upload in taken], Words()
    assert folders.fetch(project.id, paths, words) == 2
    file, folder = (workspace.uploads.resolve(project.id, path) for path in paths)
    assert file.read_bytes() == b"abc"
    assert (folder / "matrix.h5").read_bytes() == b"12345"
    fractions = [fraction for fraction, _ in words.said]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert "copying run, 5 bytes of 5 bytes" in words.said[-1][1]
    assert folders.fetch(project.id, paths, Words(most=0)) == 0  # they are here


def test_a_copy_is_cancelled_and_begun_again(roots, monkeypatch):
    settings, root = roots
    workspace = Workspace(settings)
    project, folders = workspace.create_project("p", "ada"), workspace.server_folders
    monkeypatch.setattr("spatialmeta_app.workspace.server_folders.PIECE", 1)
    upload = folders.take(project.id, root / "a.h5ad")
    with pytest.raises(Cancelled):
        folders.fetch(project.id, [upload.path], Words(most=2))
    assert not workspace.uploads.path(upload).exists()
    assert folders.fetch(project.id, [upload.path], Words()) == 1
    assert workspace.uploads.resolve(project.id, upload.path).read_bytes() == b"abc"


def test_a_file_that_changed_since_it_was_chosen_is_refused(roots):
    settings, root = roots
    workspace = Workspace(settings)
    project, folders = workspace.create_project("p", "ada"), workspace.server_folders
    upload, gone = folders.take(project.id, root / "a.h5ad"), folders.take(project.id, root / "run")
    (root / "a.h5ad").write_bytes(b"abcdef")
    with pytest.raises(WorkspaceError, match="as it was chosen"):
        folders.fetch(project.id, [upload.path], Words())
    (root / "run" / "matrix.h5").unlink()
    (root / "run").rmdir()
    with pytest.raises(NotFound):
        folders.fetch(project.id, [gone.path], Words())
    assert not workspace.uploads.path(upload).exists()


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "nothing.h5ad", "link", "run/../../secret"])
def test_paths_out_of_the_allowed_folders_are_refused(roots, path):
    settings, root = roots
    (root / "link").symlink_to(root.parent / "secret")
    workspace = Workspace(settings)
    project = workspace.create_project("p", "ada")
    with pytest.raises(NotFound):
        workspace.server_folders.take(project.id, root / path)
    assert workspace.uploads.list(project.id) == []
    assert "link" not in [p.name for p in workspace.server_folders.browse(root)]


def test_a_folder_with_a_link_out_of_it_is_refused(roots):
    settings, root = roots
    (root / "run" / "link").symlink_to(root.parent / "secret")
    workspace = Workspace(settings)
    project = workspace.create_project("p", "ada")
    with pytest.raises(WorkspaceError):
        workspace.server_folders.take(project.id, root / "run")


def test_nothing_can_be_imported_where_no_folder_is_allowed(workspace, project):
    assert workspace.server_folders.browse() == []
    with pytest.raises(NotFound):
        workspace.server_folders.take(project.id, "/etc/passwd")
