"""The driver `nspawn`: every node boots a Debian of its own in a container of systemd."""
