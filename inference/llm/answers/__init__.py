"""Screens what a language model says before it leaves: secrets, personal data, its own prompt.

The policy says what is looked for, and what follows (`sealgate.trust.policy.answers`).
"""

from inference.llm.answers.screen import FILTERED as FILTERED
from inference.llm.answers.screen import AnswerScreen as AnswerScreen
