"""The publisher's input: the folder of a trained model, its data and its training provenance."""
