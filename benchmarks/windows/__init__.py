"""What attention windows save on long texts, and what they cost."""
