"""The report of a campaign: one self-contained HTML file, from plain data."""

from pyacemaker.report.data import (
    CheckEntry,
    CycleRow,
    Event,
    KMCProcess,
    KMCWalk,
    LabelRow,
    MDTrace,
    ParitySet,
    ReportData,
    SettingRow,
    Targets,
    Usage,
)
from pyacemaker.report.render import render, write_report

__all__ = [
    "CheckEntry",
    "CycleRow",
    "Event",
    "KMCProcess",
    "KMCWalk",
    "LabelRow",
    "MDTrace",
    "ParitySet",
    "ReportData",
    "SettingRow",
    "Targets",
    "Usage",
    "render",
    "write_report",
]
