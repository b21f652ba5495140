"""The bill as other tools read it: the FinOps Open Cost and Usage Specification (FOCUS), version 1.2."""
