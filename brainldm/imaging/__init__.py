"""Template, population, registration, resampling and intensity: arrays in, arrays out, no networks."""
