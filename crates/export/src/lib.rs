//! From a checkpoint of a known architecture to an ONNX graph, without Python.
