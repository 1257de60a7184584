"""The client library: asks a model, and checks the receipt of every answer.

Its users call `sealgate.connect` or, with asyncio, `sealgate.connect_aio`.
"""
