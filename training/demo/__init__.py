"""The demo's models and data, and how they are trained."""
