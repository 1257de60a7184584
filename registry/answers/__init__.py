"""The answer log: entries with encrypted openings, their index, and the subjects' keys."""

from registry.answers.answer_log import AnswerLog, Entries, LoggedAnswer, PythonEntries
from registry.answers.encryption import Opening
from registry.answers.index import SINCE, UNTIL
from registry.answers.search import ANYTHING, SEARCHABLE, closed_between
from registry.answers.subject_keys import SubjectKeys
from registry.answers.upkeep import prune_leaves

__all__ = [
    "ANYTHING",
    "SEARCHABLE",
    "SINCE",
    "UNTIL",
    "AnswerLog",
    "Entries",
    "LoggedAnswer",
    "Opening",
    "PythonEntries",
    "SubjectKeys",
    "closed_between",
    "prune_leaves",
]
