"""The server side: starts a worker, or waits for a client, and asks it."""
