use amphora_error::ErrorKind;
use amphora_onnx::{Limits, Model, write};
use bytes::Bytes;
use proptest::prelude::*;

use crate::sample;

/// Reads damaged bytes and, if they are accepted, everything else that reads the model.
fn survive(bytes: Vec<u8>) -> Result<(), TestCaseError> {
    let external = [(sample::LOCATION.to_owned(), sample::data_file())];
    match Model::from_parts(Bytes::from(bytes), external.into(), &Limits::default()) {
        Err(error) => prop_assert_ne!(error.kind(), ErrorKind::Internal),
        Ok(model) => {
            let _ = model.contract();
            let _ = model.check();
            let _ = model.infer_shapes();
            model.nonfinite_weights();
            let files = write::self_contained(&model, "model.onnx.data", 0).unwrap();
            let again = Model::from_parts(
                files.graph,
                files
                    .data
                    .map(|data| ("model.onnx.data".to_owned(), data.to_bytes()))
                    .into_iter()
                    .collect(),
                &Limits::default(),
            );
            prop_assert!(again.is_ok(), "{again:?}");
        }
    }
    Ok(())
}

#[test]
fn a_model_cut_at_any_byte_is_refused_or_read() {
    let bytes = write::to_bytes(&sample::model());
    let cuts: Vec<usize> = (0..bytes.len()).collect();
    amphora_testing::each(&cuts, |cut| survive(bytes[..*cut].to_vec()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_edits_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..8),
    ) {
        let mut bytes = write::to_bytes(&sample::model());
        for (index, byte, action) in edits {
            let at = index.index(bytes.len());
            match action {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => { bytes.remove(at); }
            }
        }
        survive(bytes)?;
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        survive(bytes)?;
    }
}
