"""The protocol's REST form and OpenAI's, over HTTP/1.1."""
