"""Gates a potential has to pass: each go or no-go, with the numbers it rests on.

`run.make_checks` and `run.validate` are the way in; `settings.ValidationSettings` holds
the thresholds. Nothing is imported here, so that reading a configuration stays fast.
"""
