"""From labels to a potential: targets, basis, fit, active set."""
