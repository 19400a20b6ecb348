"""Networks, samplers and their training: tensors in, tensors out."""
