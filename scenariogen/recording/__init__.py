"""Many simulated days with incidents, and apart from them the truth about those incidents."""

from scenariogen.recording.record import record
from scenariogen.recording.summary import RecordingSummary
from scenariogen.recording.truth import TrueProcess

__all__ = ["RecordingSummary", "TrueProcess", "record"]
