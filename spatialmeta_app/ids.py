"""Component ids: one small class of constants for the shell and for each page.

An id that appears in a callback stands here and nowhere else as a literal.
"""

from __future__ import annotations


class Shell:
    """On every page."""

    URL = "url"  # dcc.Location; pathname and search
    HEADER = "header"
    PLACE = "place"  # the two pickers
    STEPPER = "stepper"
    JOBS = "jobs"  # dcc.Store {project, seq, jobs: [Job as JSON, newest first]}, kept fresh by assets/jobs.js
    JOBS_ENDED = "jobs-ended"  # dcc.Store {seq, jobs: [...]}: set once for jobs that ended since the page was opened
    ALERT = "alert"  # dcc.Store {level, title, text, found, mend}: assets/shell.js shows it
    CHANGED = "place-changed"  # dcc.Store, counts up when a project or sample was renamed or added
    UNDO = "undo"
    REDO = "redo"
    THEME = "theme"
    TRAY = "tray"
    TRAY_PANEL = "tray-panel"
    RENAME = "rename"  # pattern {"rename": "project" | "sample", "part": ...}


class Home:
    """`/`"""

    NEW = "home-new"
    NAME = "home-name"
    LIST = "home-list"
    DEMO = "home-demo"


class Data:
    """`/p/<project>/<sample>/data`"""

    PAGE = "data-page"
    SLOTS = "data-slots"
    THUMBNAILS = "data-thumbnails"
    CHECKS = "data-checks"
    NEXT = "data-next"
    UPLOADED = "data-uploaded"  # dcc.Store {slot: upload ids}, set by assets/upload.js when a slot is complete


class Jobs:
    """`/p/<project>/jobs`"""

    TABLE = "jobs-table"
    LOG = "jobs-log"
    CHOSEN = "jobs-chosen"
