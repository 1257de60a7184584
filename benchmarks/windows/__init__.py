"""The savings and costs of attention windows on long texts."""
