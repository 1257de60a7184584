"""Presentation: charts, evidence as tables, and values in words."""
