"""Language models by architecture, loaded from verified files."""
