"""The training engine: one loop for torch modules, one fit for estimators, and their schedules."""
