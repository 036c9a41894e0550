"""Which sections the panel has, from top to bottom."""

from __future__ import annotations

from UncertaintySegLib.panel.cases_section import CasesSection
from UncertaintySegLib.panel.edit_section import EditSection
from UncertaintySegLib.panel.preferences_section import PreferencesSection
from UncertaintySegLib.panel.regions_section import RegionsSection
from UncertaintySegLib.panel.report_section import ReportSection
from UncertaintySegLib.panel.review_section import ReviewSection
from UncertaintySegLib.panel.risk_section import RiskSection
from UncertaintySegLib.panel.section import Section
from UncertaintySegLib.panel.segment_section import SegmentSection
from UncertaintySegLib.panel.selection_section import SelectionSection
from UncertaintySegLib.panel.server_section import ServerSection

SECTIONS: list[type[Section]] = [
    ServerSection,
    CasesSection,
    SegmentSection,
    RiskSection,
    SelectionSection,
    RegionsSection,
    EditSection,
    ReviewSection,
    ReportSection,
    PreferencesSection,
]
