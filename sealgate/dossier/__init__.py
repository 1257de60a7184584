"""The regulator's file: what Sealgate can prove of a model, ordered by a framework's headings.

Every line cites the entry of the registry's log that proves it, or says that Sealgate does not
cover it. A dossier claims no conformity with any law or standard.
"""

from sealgate.dossier.document import Dossier as Dossier
from sealgate.dossier.document import Section as Section
from sealgate.dossier.document import Template as Template
from sealgate.dossier.document import build as build
from sealgate.dossier.document import template as template
from sealgate.dossier.document import template_names as template_names
from sealgate.dossier.pages import as_html as as_html
from sealgate.dossier.pages import as_markdown as as_markdown
from sealgate.dossier.pages import check_files as check_files
from sealgate.dossier.pages import write_files as write_files
from sealgate.dossier.record import NOT_COVERED as NOT_COVERED
from sealgate.dossier.record import Citation as Citation
from sealgate.dossier.record import DossierClaim as DossierClaim
from sealgate.dossier.record import read_record as read_record
