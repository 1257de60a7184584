"""How pages show things: charts, evidence as tables, and values in words."""
