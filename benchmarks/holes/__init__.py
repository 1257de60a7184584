"""How the gateway holds where attackers once found holes."""
