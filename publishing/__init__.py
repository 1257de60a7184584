"""Publishing: turns a trained model into a signed, watermarked and calibrated version."""
