"""Names of what a campaign leaves in its work directory for the user."""

POTENTIAL = "potential"  # a folder: the potential and its certificate
REPORT = "report.html"
DATA = "dataset.extxyz"
CERTIFICATE = "certificate.json"
