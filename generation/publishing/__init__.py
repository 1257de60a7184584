"""Publishing of language models: watermark, evidence and signature."""
