"""The regulator's file: what Sealgate can prove of a model, ordered by a framework's headings.

Every line cites the entry of the registry's log that proves it, or says that Sealgate does not
cover it. A dossier claims no conformity with any law or standard.
"""

from sealgate.dossier.document import Dossier, build, template, template_names
from sealgate.dossier.pages import check_files, write_files
from sealgate.dossier.record import NOT_COVERED, read_record

__all__ = [
    "NOT_COVERED",
    "Dossier",
    "build",
    "check_files",
    "read_record",
    "template",
    "template_names",
    "write_files",
]
