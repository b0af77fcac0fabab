"""Projects on disk and in the database: the only code that makes paths."""

from spatialmeta_app.workspace.annotations import Annotations, Revision
from spatialmeta_app.workspace.errors import Conflict, ForbiddenError, NotFound, WorkspaceError
from spatialmeta_app.workspace.projects import Workspace
from spatialmeta_app.workspace.records import CHAIN, DEMO, IMPORTS, JOINT, Project, Result, Sample, Upload
from spatialmeta_app.workspace.uploads import Uploads

__all__ = [
    "CHAIN",
    "DEMO",
    "IMPORTS",
    "JOINT",
    "Annotations",
    "Conflict",
    "ForbiddenError",
    "NotFound",
    "Project",
    "Result",
    "Revision",
    "Sample",
    "Upload",
    "Uploads",
    "Workspace",
    "WorkspaceError",
]
