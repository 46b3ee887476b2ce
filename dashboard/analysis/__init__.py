"""Arrays in, frozen results out; numpy and scikit-learn only."""
