"""`sealgate policy`: shows, explains, drafts, signs and accepts policies."""
