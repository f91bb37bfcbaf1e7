//! One manifest, whatever runs the graph, however many inputs it has.

use std::sync::Arc;

use amphora::{Error, Level, Package};
use amphora_onnx::{Dim, Dtype, Limits, Model};
use amphora_runtime::{
    Engine, EngineChoice, Executable, OrtLocation, Session, SessionOptions, Tensor,
    UnsupportedOperator, engine,
};
use amphora_testing::each;

use crate::scene::{Scene, bert, io, logits, open, ort_location, stated};

/// Adds like [`adder`], without looking at the graph: another engine behind the same manifest.
#[derive(Debug)]
struct ByHand;

impl Engine for ByHand {
    fn name(&self) -> &'static str {
        "by-hand"
    }
    fn version(&self) -> String {
        "1".to_owned()
    }
    fn unsupported(&self, _: &Model) -> Vec<UnsupportedOperator> {
        Vec::new()
    }
    fn load(&self, _: &Model, _: &SessionOptions) -> amphora::Result<Box<dyn Executable>> {
        Ok(Box::new(Self))
    }
}

impl Executable for ByHand {
    fn run(&mut self, inputs: &[(&str, &Tensor)], _: &[&str]) -> amphora::Result<Vec<Tensor>> {
        let mut sum = vec![0.0; inputs[0].1.len()];
        for (index, (_, tensor)) in inputs.iter().enumerate() {
            let values = tensor
                .as_slice::<i64>()
                .ok_or_else(|| Error::internal("dtype", "not int64"))?;
            for (sum, value) in sum.iter_mut().zip(values) {
                *sum += *value as f32 * 10_f32.powi(index as i32);
            }
        }
        Ok(vec![Tensor::new(inputs[0].1.shape(), sum)?])
    }
}

#[test]
fn one_manifest_drives_every_engine() {
    let rten = engine(EngineChoice::Rten, &OrtLocation::default()).unwrap();
    let ort = ort_location().map(|at| engine(EngineChoice::Ort, &at).unwrap());
    let by_hand: Arc<dyn Engine> = Arc::new(ByHand);
    let engines: Vec<Arc<dyn Engine>> = [Some(rten), ort, Some(by_hand)]
        .into_iter()
        .flatten()
        .collect();
    let scene = bert(&stated("[-1, 2]", ""));
    let package = Package::open(scene.path(), Level::Install).unwrap();
    let model = package
        .model(&package.graphs().unwrap()[0], &Limits::default())
        .unwrap();
    let contract = model.contract().unwrap();
    let known = package.effective_io(&contract, true).unwrap();
    each(&engines, |engine| {
        // Nothing below depends on the engine.
        let session = Session::new(&model, engine.clone(), &SessionOptions::default(), None);
        let mut session = session
            .and_then(|session| session.narrowed(known.narrow(&contract)))
            .map_err(|e| e.to_string())?;
        let inputs = known.io.inputs.iter().zip([[1_i64, 2], [1, 1], [0, 1]]);
        let inputs = inputs
            .map(|(spec, values)| {
                assert_eq!(spec.dtype, Dtype::Int64);
                (
                    spec.name.clone(),
                    Tensor::new([1, 2], values.to_vec()).unwrap(),
                )
            })
            .collect();
        let outputs = session.run(&inputs).map_err(|e| e.to_string())?;
        let found = outputs
            .get(&known.io.outputs[0].name)
            .unwrap()
            .as_slice::<f32>()
            .unwrap()
            .to_vec();
        match found == [11.0, 112.0] {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    });
}

#[test]
fn seventeen_and_forty_inputs_are_taken_as_any_other_number() {
    for count in [17, 40] {
        let names: Vec<String> = (0..count).map(|index| format!("x{index}")).collect();
        let shape = [open("batch")];
        let inputs: Vec<(&str, Dtype, &[Dim])> = names
            .iter()
            .map(|name| (name.as_str(), Dtype::Int64, &shape[..]))
            .collect();
        let lines: Vec<String> = names
            .iter()
            .map(|name| format!("{{name: {name}, dtype: int64, shape: [-1]}}"))
            .collect();
        let manifest = io(&lines).replace("shape: [-1, -1]", "shape: [-1]");
        let scene = Scene::new(&manifest).with_graph(&inputs, &shape);
        let mut values: Vec<(&str, &str)> =
            names.iter().map(|name| (name.as_str(), "[0]")).collect();
        values[3].1 = "[2]";
        for choice in [EngineChoice::Rten, EngineChoice::Auto] {
            assert_eq!(logits(&scene.run(&values, choice).unwrap()), [2000.0]);
        }
        let error = scene.run(&values[1..], EngineChoice::Rten).unwrap_err();
        assert!(error.to_string().contains("'x0' is missing"), "{error}");
        let hint = error.hint_text().unwrap_or_default();
        assert_eq!(hint.ends_with(" and 8 more"), count == 40, "{hint}");
    }
}
