"""A call on its way through the gateway, whichever listener it came by."""
