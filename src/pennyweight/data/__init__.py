"""The data of a job: disjoint splits, class balance, cross-validation."""
