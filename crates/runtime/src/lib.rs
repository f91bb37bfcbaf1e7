//! Tensors, engines behind one trait, and sessions that check what goes in.
