"""Generation: language models are published, loaded and asked in a process beside the gateway."""
