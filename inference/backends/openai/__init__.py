"""Backend for language models behind a server of the OpenAI protocol."""
