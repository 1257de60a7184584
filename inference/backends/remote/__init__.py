"""Backend for engines in other processes: the gateway's end of the connection."""
