"""The dashboard: pages drawn on the server from what the command line tells, each also as JSON."""
