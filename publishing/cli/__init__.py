"""Commands of publishers, approvers and auditors that run or examine models."""
