//! Trained weights as named tensors, read as data: safetensors, PyTorch files and their configurations.
