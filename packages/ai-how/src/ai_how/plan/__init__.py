"""From a cluster file to what would be made, and what stands against it; nothing is touched."""
