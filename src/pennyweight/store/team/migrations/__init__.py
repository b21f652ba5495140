"""The versions of a team's database, each a step from the one before."""
