"""A witness: a small server that cosigns checkpoints of logs that only grow (C2SP tlog-witness)."""
