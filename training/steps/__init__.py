"""Steps of a recipe: distillation, hardening, quantization-aware and private training, search."""
