"""The commands of `esper`, one file for each thing they are about; `cli.py` puts them together."""
