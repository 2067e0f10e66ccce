"""One page for people: which policy stands incidents better, how sure that is, and where it hurts."""

from scenariogen.report.html import summary, write_report
from scenariogen.report.verdict import verdict_sentence

__all__ = ["summary", "verdict_sentence", "write_report"]
