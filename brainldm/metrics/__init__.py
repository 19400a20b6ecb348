"""Pure functions of arrays that score volumes and tables."""
