"""How far predictions are off on tables of measurements, and moving them by rows of your own."""
