"""Language models: requests, answers and their protocol messages."""
