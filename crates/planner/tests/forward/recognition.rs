//! Which graphs are recognized, and that those compute what an engine computes.

use std::collections::BTreeMap;

use amphora_onnx::{Limits, Model};
use amphora_planner::forward::SparseMlp;
use amphora_runtime::{EngineChoice, OrtLocation, Session, SessionOptions, Tensor, engine};

use crate::graphs::{Copies, Fault, Linear, Norm, Spelling, plain};
use crate::writer::write;

fn model(spelling: &Spelling) -> Model {
    Model::from_proto(write(spelling), &Limits::default()).unwrap()
}

/// A few rows, one after another: zeros, a single feature, every second feature, all of them.
fn rows(width: usize) -> Vec<(Vec<u32>, Vec<f32>)> {
    let every = |step: usize, scale: f32| {
        let indices: Vec<u32> = (0..width).step_by(step).map(|i| i as u32).collect();
        let values = indices
            .iter()
            .map(|i| scale * (1.0 - 0.3 * *i as f32))
            .collect();
        (indices, values)
    };
    vec![
        (vec![], vec![]),
        (vec![width as u32 - 1], vec![1.0]),
        every(2, 1.0),
        every(1, 0.7),
        every(1, 300.0),
    ]
}

fn by_engine(model: &Model, width: usize) -> Result<Vec<Vec<f32>>, String> {
    let rten = engine(EngineChoice::Rten, &OrtLocation::default()).unwrap();
    let mut session = Session::new(model, rten, &SessionOptions::default(), None)
        .map_err(|error| error.to_string())?;
    let rows = rows(width);
    let mut dense = vec![0.0_f32; rows.len() * width];
    for (row, (indices, values)) in rows.iter().enumerate() {
        for (index, value) in indices.iter().zip(values) {
            dense[row * width + *index as usize] = *value;
        }
    }
    let input = Tensor::new([rows.len(), width], dense).unwrap();
    let outputs = session
        .run(&BTreeMap::from([("input".to_owned(), input)]))
        .map_err(|error| error.to_string())?;
    Ok(outputs
        .into_iter()
        .map(|(_, tensor)| tensor.into_vec().unwrap())
        .collect())
}

fn agrees(spelling: &Spelling) -> Result<(), String> {
    let model = model(spelling);
    let mlp = SparseMlp::recognize(&model).ok_or("not recognized")?;
    let expected = by_engine(&model, spelling.width)?;
    let widths: Vec<usize> = mlp.heads().iter().map(|head| head.classes).collect();
    if mlp.input() != "input" || mlp.width() != spelling.width || widths != spelling.heads {
        return Err(format!("{mlp:?}"));
    }
    for (row, (indices, values)) in rows(spelling.width).iter().enumerate() {
        let found = mlp.forward(indices, values).unwrap();
        for (head, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let expected = &expected[row * widths[head]..][..widths[head]];
            for (found, expected) in found.iter().zip(expected) {
                if (found - expected).abs() >= 1e-5 {
                    return Err(format!("row {row}, head {head}: {found} is not {expected}"));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn every_spelling_of_the_planner_mlp_is_recognized_and_agrees_with_an_engine() {
    let linear = |name, linear| Spelling {
        linear,
        ..plain(name)
    };
    let norm = |name, norm| Spelling {
        norm,
        ..plain(name)
    };
    let copies = |name, copies| Spelling {
        copies,
        ..plain(name)
    };
    let opset = |name, opset| Spelling {
        opset,
        norm: Norm::Builder,
        ..plain(name)
    };
    let sizes = |name, width, hidden: &[usize], heads: &[usize]| Spelling {
        width,
        hidden: hidden.to_vec(),
        heads: heads.to_vec(),
        ..plain(name)
    };
    amphora_testing::each(
        &[
            plain("as exported"),
            linear("Gemm", Linear::Gemm),
            linear("Gemm of Transpose", Linear::GemmOfTranspose),
            linear("Gemm without bias", Linear::GemmWithoutBias),
            linear("MatMul", Linear::MatMul),
            linear("MatMul of Transpose", Linear::MatMulOfTranspose),
            linear("MatMul, bias first", Linear::MatMulBiasFirst),
            linear("MatMul without bias", Linear::MatMulWithoutBias),
            norm("axis 1", Norm::Native),
            norm("no shift", Norm::NativeWithoutShift),
            norm("parts", Norm::Parts),
            norm("parts, squared by Mul", Norm::PartsSquaredByMul),
            norm("parts, other order", Norm::PartsOtherOrder),
            norm("parts, centered twice", Norm::PartsCenteredTwice),
            copies("Identity", Copies::Identity),
            copies("Dropout", Copies::Dropout),
            copies("Dropout told not to train", Copies::DropoutToldNotToTrain),
            opset("opset 11", 11),
            opset("opset 14", 14),
            opset("opset 18", 18),
            opset("opset 20", 20),
            Spelling {
                opset: 18,
                norm: Norm::Parts,
                ..plain("axes as an input")
            },
            sizes("one layer, one head", 3, &[4], &[1]),
            sizes("six heads", 5, &[6], &[1, 2, 3, 4, 5, 6]),
            sizes("wider and narrower", 40, &[17, 64, 3, 33], &[2, 4, 6, 5]),
            sizes("one of everything", 1, &[2, 1], &[1]),
        ],
        agrees,
    );
}

#[test]
fn whatever_is_not_the_planner_mlp_is_not_recognized() {
    let parts = |fault| Spelling {
        fault,
        ..plain("parts")
    };
    let faults = [
        Fault::Alpha,
        Fault::Beta,
        Fault::TransposedInput,
        Fault::LeakyRelu,
        Fault::NoRelu,
        Fault::NoNorm,
        Fault::SecondRelu,
        Fault::ReluOnHead,
        Fault::NormOverBatch,
        Fault::MeanOverBatch,
        Fault::MeanOverAll,
        Fault::MeanWithoutAxis,
        Fault::Cubed,
        Fault::SubReversed,
        Fault::DivReversed,
        Fault::MeanOfSomethingElse,
        Fault::SquareOfSomethingElse,
        Fault::EpsilonOfEachColumn,
        Fault::NegativeEpsilon,
        Fault::BiasOfOneElement,
        Fault::ScaleOfOneElement,
        Fault::HeadOnFirstLayer,
        Fault::HeadOnInput,
        Fault::InputScaled,
        Fault::SecondInput,
        Fault::TrainingDropout,
        Fault::MaskOfDropout,
        Fault::NanWeight,
        Fault::InfiniteBias,
        Fault::DoublePrecision,
        Fault::WeightFromInput,
        Fault::OldOpset,
    ];
    let mut rows: Vec<Spelling> = faults.map(parts).to_vec();
    rows.push(Spelling {
        hidden: vec![8, 8],
        fault: Fault::Residual,
        ..plain("residual")
    });
    rows.push(Spelling {
        linear: Linear::MatMul,
        fault: Fault::RankThreeInput,
        ..plain("rank 3")
    });
    rows.push(Spelling {
        hidden: vec![],
        ..plain("no hidden layer")
    });
    amphora_testing::each(&rows, |spelling| {
        let model = model(spelling);
        // A graph that makes no sense would be refused whatever it is.
        if let (Err(error), true) = (model.check(), spelling.fault != Fault::OldOpset) {
            return Err(error.to_string());
        }
        match SparseMlp::recognize(&model) {
            None => Ok(()),
            Some(mlp) => Err(format!("recognized as {mlp:?}")),
        }
    });
}

#[test]
fn a_row_that_does_not_fit_is_refused() {
    let mlp = SparseMlp::recognize(&model(&plain("rows"))).unwrap();
    for (indices, values) in [
        (&[9][..], &[1.0][..]),
        (&[0, 1], &[1.0]),
        (&[u32::MAX], &[0.0]),
    ] {
        let error = mlp.forward(indices, values).unwrap_err();
        assert_eq!(error.rule(), "sparse-row");
    }
}

#[test]
fn values_at_one_index_add_up_and_their_order_hardly_matters() {
    let mlp = SparseMlp::recognize(&model(&plain("sums"))).unwrap();
    let once = mlp.forward(&[1, 3], &[0.5, 1.0]).unwrap().concat();
    let twice = mlp
        .forward(&[3, 1, 1], &[1.0, 0.25, 0.25])
        .unwrap()
        .concat();
    assert!(once.iter().zip(&twice).all(|(a, b)| (a - b).abs() < 1e-6));
}

#[test]
fn a_value_that_is_no_number_stays_visible_in_every_logit() {
    let mlp = SparseMlp::recognize(&model(&plain("not a number"))).unwrap();
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let logits = mlp.forward(&[2], &[value]).unwrap().concat();
        assert!(
            logits.iter().all(|logit| logit.is_nan()),
            "{value}: {logits:?}"
        );
    }
}
