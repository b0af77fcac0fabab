"""Component ids: one small class of constants for the shell and for each page.

An id that appears in a callback stands here and nowhere else as a literal.
"""

from __future__ import annotations


class Shell:
    """On every page."""

    URL = "url"  # dcc.Location; pathname and search
    HEADER = "header"
    PLACE = "place"  # the two pickers
    NAME_FORM = "name-form"  # stands in their place while something is named
    STEPPER = "stepper"
    JOBS = "jobs"  # dcc.Store {project, seq, jobs: [Job as JSON, newest first]}, kept fresh by assets/jobs.js
    JOBS_ENDED = "jobs-ended"  # dcc.Store {seq, jobs: [...]}: set once for jobs that ended since the page was opened
    SUBMITTED = "submitted"  # dcc.Store: any new value makes assets/jobs.js ask at once
    ALERT = "alert"  # dcc.Store {level, title, text, found, mend}: assets/shell.js shows it
    CHANGED = "place-changed"  # dcc.Store, counts up when a project or sample was renamed or added
    UNDO = "undo"
    REDO = "redo"
    THEME = "theme"
    TRAY = "tray"
    TRAY_PANEL = "tray-panel"
    RENAME = "rename"  # pattern {"rename": "project" | "sample" | "new-sample", "part": "open" | "name" | …}


class Home:
    """`/`"""

    NEW = "home-new"
    NAME = "home-name"
    LIST = "home-list"
    DEMO = "home-demo"
    DEMO_STATE = "home-demo-state"
    WALK = "home-walk"
    WAITING = "home-waiting"
    OPEN = "home-open"
    CONFIRM = "home-confirm"
    DOOMED = "home-doomed"


class Data:
    """`/p/<project>/<sample>/data`; the script is assets/upload.js."""

    UPLOADED = "data-uploaded"  # dcc.Store: the id of a file that is whole now; any new value draws the page anew
    STATES = "data-states"  # pattern {"data-states": slot}: what a slot holds
    SCALE = "data-scale"
    KEY_FRAME = "data-key-frame"
    KEY = "data-key"
    KEY_SHOWN = "data-key-shown"
    TILES = "data-tiles"
    CHECKS = "data-checks"
    NEXT = "data-next"
    BROWSE = "data-browse"  # dcc.Store: the folder of the server that is shown
    BROWSE_AS = "data-browse-as"
    BROWSER = "data-browser"  # its entries: pattern {"data-browser": "folder" | "file", "path": path}


class Jobs:
    """`/p/<project>/jobs`"""

    PROJECT = "jobs-project"
    TABLE = "jobs-table"
    CHOSEN = "jobs-chosen"  # dcc.Store: id of the job whose details are shown
    DETAILS = "jobs-details"
    ACTION = "jobs-action"  # pattern {"jobs-action": "show" | "cancel" | "resume" | "again", "job": id}


class Steps:
    """The one mechanism of all step pages; *step* is the name of the step, which is also the name of its form.

    Pattern ids ``{"part": ..., "form": step}``, so that ``MATCH`` joins them with the fields of ``components.form``.
    """

    RUN = "run"
    JOB = "job"  # dcc.Store: the newest job of this step as JSON, or None
    PANEL = "panel"  # progress of the job
    BAR = "bar"
    MESSAGE = "message"
    CANCEL = "cancel"
    RESUME = "resume"
    ERROR = "error"
    COMMAND = "command"
    VERSION = "version"  # dcc.Store {result, stale}: changes when there is another result to show
    TOUCHED = "touched"  # dcc.Store, counts up when this page submitted or chose something
    NOTICE = "notice"
    RUNS = "runs"
    CHOOSE = "choose"  # {"part": "choose", "form": step, "result": id}
    COMPARE = "compare"  # {"part": "compare", "form": step, "result": id}
    CURVES = "curves"
    GIVEN = "given"  # dcc.Store {option: value}: settings that have their own controls on the page
    AWAITED = "step-awaited"  # dcc.Store on the page of a step whose input is not there yet
    THEN = "then"  # dcc.Store {step, ids, values}: the form of the step that follows by itself

    @staticmethod
    def of(part: str, step: object) -> dict[str, object]:
        """The id of *part* for *step*; ``MATCH`` and ``ALL`` may stand for the step."""
        return {"part": part, "form": step}


class Align:
    """`/p/<project>/<sample>/align`; the scripts are assets/align*.js."""

    STAGE = "align-stage"
    SECOND = "align-second"
    SCENE = "align-scene"  # dcc.Store, from services.align.scene
    READY = "align-ready"  # dcc.Store {key, pixels, spots}: set when the arrays have arrived
    MANUAL = "align-manual"  # dcc.Store: the manual values as AlignConfig names them
    COLOR = "align-color"
    COLORS = "align-colors"  # the datalist of the field
    COLORED = "align-colored"  # dcc.Store: what align.js colours by
    USE = "align-use"
    SAVE = "align-save"
    LEGEND = "align-legend"
    TURNS = "align-turns"
    QUALITY = "align-quality"
    OTHER = "align-other"  # pattern {"align-other": result}: tries the runner-up of its orientation
    MARKS = "align-marks"  # dcc.Store: landmark pairs [[sm x, sm y, st x, st y], …]
    MARKS_FILE = "align-marks-file"  # dcc.Store: the text of a CSV that was opened
    MARKS_FIT = "align-marks-fit"
    MARKED = "align-marked"  # dcc.Store, from services.landmarks.judge
    MARKS_SAVE = "align-marks-save"
    MARKS_USE = "align-marks-use"
    COMPARE = "align-compare"
    COMPARE_A = "align-compare-a"
    COMPARE_B = "align-compare-b"
    COMPARED = "align-compared"  # dcc.Store {a: {url, name}, b: {…}}
    COMPARE_TABLE = "align-compare-table"


class Reassign:
    """`/p/<project>/<sample>/reassign`"""

    MAP = "reassign-map"
    DISTANCES = "reassign-distances"
    COVERAGE = "reassign-coverage"
    SPOT = "reassign-spot"
    NUMBER = "reassign-number"
    PARTS = "reassign-parts"  # samples to join with this one
    JOINED_NAME = "reassign-joined-name"
    JOIN_FORM = "join"  # name of the form of its settings
    JOIN = "reassign-join"


class Joined:
    """The same address for a sample that joins others."""

    MAP = "joined-map"
    REPORT = "joined-report"


class Features:
    """`/p/<project>/<sample>/features`"""

    MAP = "features-map"
    MAP_BY = "features-map-by"
    MORAN = "features-moran"
    QC = "features-qc"
    KIND = "features-kind"
    SEARCH = "features-search"
    SORT = "features-sort"  # pattern {"features-sort": column}
    ORDER = "features-order"  # dcc.Store {by, descending}
    PAGE = "features-page"
    TABLE = "features-table"
    MARK = "features-mark"  # pattern {"features-mark": "pin" | "drop" | "show", "name": feature}
    SHOWN = "features-shown"  # dcc.Store: name of the feature on the map


class Integrate:
    """`/p/<project>/<sample>/integrate`"""

    PRESET = "integrate-preset"
    SUMMARY = "integrate-summary"
    COMPARED = "integrate-compared"  # dcc.Store: result id of the run that the one in use is compared with
    TRAINING = "integrate-training"  # the curves of one run
    COMPARISON = "integrate-comparison"  # or two runs, in their place
    COMPARED_CURVES = "integrate-compared-curves"
    COMPARED_TABLE = "integrate-compared-table"
    COMPARED_TITLE = "integrate-compared-title"
    COMPARE_END = "integrate-compare-end"
    CLUSTERS = "integrate-clusters"
    UMAP = "integrate-umap"


class Export:
    """`/p/<project>/<sample>/export`"""

    CONTENTS = "export-contents"
    PARTS = "export-parts"
    WRITE = "export-write"
    WHY_NOT = "export-why-not"
    FILES = "export-files"
    WANTED = "export-wanted"
    WAITING = "export-waiting"
    GET = "export-get"  # pattern {"export-get": kind}
    DOWNLOAD = "export-download"
    SCRIPT = "export-script"
    STORAGE = "export-storage"


class Explore:
    """`/p/<project>/<sample>/explore`. The scripts ``assets/explore*.js`` use the same ids."""

    CONTEXT = "explore-context"  # dcc.Store {project, sample, result, palettes, samples}: what the scripts start from
    RESULT = "explore-result"
    SEARCH = "explore-search"  # filled by explore-panels.js, as all lists of this page are
    SECOND = "explore-second"
    LAYER = "explore-layer"
    SCALE = "explore-scale"
    BIVARIATE = "explore-bivariate"
    RANGE = "explore-range"
    RANGE_BAR = "explore-range-bar"
    RANGE_TEXT = "explore-range-text"
    LOW = "explore-low"
    HIGH = "explore-high"
    LOG = "explore-log"
    HISTOLOGY = "explore-histology"
    HISTOLOGY_ROW = "explore-histology-row"
    SPOTS = "explore-spots"
    UNIT = "explore-unit"  # of the spots' size: "um" or "px"
    SIZE = "explore-size"
    SIZE_ROW = "explore-size-row"
    DOT = "explore-dot"
    DOT_ROW = "explore-dot-row"
    GRID = "explore-grid"
    GRID_NOTE = "explore-grid-note"  # where the clusters shown are of each sample by itself
    BESIDE = "explore-beside"
    BESIDE_CHIPS = "explore-beside-chips"
    CATEGORIES = "explore-categories"
    CATEGORIES_NAME = "explore-categories-name"
    CATEGORY_LIST = "explore-category-list"
    TOOLBAR = "explore-toolbar"
    HINT = "explore-hint"
    COUNT = "explore-count"
    PANES = "explore-panes"
    MORE = "explore-more"  # filled by explore-panes.js
    STAGE = "explore-stage"
    TITLE = "explore-title"
    SPATIAL = "explore-spatial"
    OVERLAY = "explore-overlay"
    LEGEND = "explore-legend"
    SCALE_BAR = "explore-scale-bar"
    FRAME_NOTE = "explore-frame-note"
    TIP = "explore-tip"
    UMAP_PANEL = "explore-umap-panel"
    UMAP_STAGE = "explore-umap-stage"
    UMAP = "explore-umap"
    UMAP_OVERLAY = "explore-umap-overlay"
    SELECTION = "explore-selection"
    SHAPES = "explore-shapes"  # filled by explore-shapelist.js, as the next three
    SHAPE_TOOLS = "explore-shape-tools"
    SHAPE_EDIT = "explore-shape-edit"
    SHAPE_REPORT = "explore-shape-report"
    MARKERS = "explore-markers"
    TRAJECTORY = "explore-trajectory"
    TRAJECTORY_NAME = "explore-trajectory-name"
    TRAJECTORY_NOTE = "explore-trajectory-note"
    WIDTH = "explore-width"
    REVERSE = "explore-reverse"
    SCALED = "explore-scaled"
    SMOOTH = "explore-smooth"
    RANK = "explore-rank"
    RANKING = "explore-ranking"
    RANK_KIND = "explore-rank-kind"
    RANK_ORDER = "explore-rank-order"
    RANK_LIST = "explore-rank-list"
    RANK_NOTE = "explore-rank-note"
    ALONG = "explore-along"
    FIGURE = "explore-figure"  # filled by explore-export.js
    ANNOUNCE = "explore-announce"
    PROFILE = "explore-profile"
    PROFILE_FEATURES = "explore-profile-features"
    PROFILE_SEARCH = "explore-profile-search"
    PROFILE_REQUEST = "explore-profile-request"  # dcc.Store {result, line, width_um, features, layer, scaled}
    SAVED = "explore-saved"
