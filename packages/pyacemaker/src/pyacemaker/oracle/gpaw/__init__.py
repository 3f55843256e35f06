"""GPAW as an oracle."""
