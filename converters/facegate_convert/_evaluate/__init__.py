"""Evaluation: datasets, runs, results."""
