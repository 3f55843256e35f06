"""The report of a campaign: one self-contained HTML file, from plain data.

The data are here; `report.render`, which loads Plotly, draws them.
"""

from pyacemaker.report.data import (
    CheckEntry,
    CycleRow,
    Event,
    LabelRow,
    MDTrace,
    ParitySet,
    ReportData,
    SettingRow,
    Targets,
    Usage,
)

__all__ = [
    "CheckEntry",
    "CycleRow",
    "Event",
    "LabelRow",
    "MDTrace",
    "ParitySet",
    "ReportData",
    "SettingRow",
    "Targets",
    "Usage",
]
