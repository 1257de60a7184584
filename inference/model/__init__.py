"""The signed description of a version: `model.json`, its inputs and its golden answers."""
