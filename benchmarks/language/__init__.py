"""What a small language model gains from a larger one's word, on little real text."""
