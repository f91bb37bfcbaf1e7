//! Proving a bundle: integrity, contract, model check, numeric replay, target.
