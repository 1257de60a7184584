"""The audit record: answers and refusals, durable before anything leaves."""
