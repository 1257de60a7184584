"""Calibration: fits a version's detector and measures it with attacks and benign changes."""
