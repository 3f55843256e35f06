"""Reasons for which a campaign cannot go on."""


class CampaignError(RuntimeError):
    """The campaign has failed; the message says why and what would help, in one line."""
