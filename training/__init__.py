"""Training: recipes turn data and a teacher into a model that can be published."""
