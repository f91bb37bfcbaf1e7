use amphora_error::ErrorKind::{Malformed, Unsupported};
use amphora_onnx::proto::*;
use amphora_onnx::{Contract, Dim, Dtype, Limits, Model, write};

use crate::sample;

fn contract(edit: impl FnOnce(&mut ModelProto)) -> amphora_error::Result<Contract> {
    let mut model = sample::model();
    edit(&mut model);
    let external = [(sample::LOCATION.to_owned(), sample::data_file())];
    let bytes = write::to_bytes(&model).into();
    Model::from_parts(bytes, external.into(), &Limits::default())?.contract()
}

fn main_graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().unwrap()
}

#[test]
fn real_inputs_operators_and_parameters_of_the_sample() {
    let contract = contract(|_| {}).unwrap();
    // 'w' is an input too, but has an initializer.
    assert_eq!(contract.inputs.len(), 1);
    let input = &contract.inputs[0];
    assert_eq!((input.name.as_str(), input.dtype), ("x", Dtype::Float32));
    let expected = [Dim::Symbol("batch".into()), Dim::Fixed(2)];
    assert_eq!(input.shape.as_deref(), Some(&expected[..]));
    assert_eq!(contract.outputs[0].name, "y");
    assert_eq!((contract.opset, contract.ir_version), (17, 8));
    assert_eq!(contract.other_opsets, [("own".to_owned(), 1)].into());
    // Main graph, its two sub-graphs, the function and the two training graphs.
    assert_eq!(
        contract.operators,
        [("Constant".to_owned(), 6), ("If".to_owned(), 1)].into()
    );
    // Five graphs hold 'w', 'e' and the stored values of 's', two values each.
    assert_eq!(contract.parameters, 30);
}

#[test]
fn a_sparse_initializer_is_no_input_either() {
    let contract = contract(|model| {
        let input = sample::value("s", &[DimensionValue::Value(4)]);
        main_graph(model).input.push(input);
    });
    assert_eq!(contract.unwrap().inputs.len(), 1);
}

#[test]
fn dimensions_are_fixed_named_or_open() {
    let rows = [
        (DimensionValue::Value(3), Ok(Dim::Fixed(3))),
        (DimensionValue::Value(0), Ok(Dim::Fixed(0))),
        (DimensionValue::Value(-1), Ok(Dim::Unknown)),
        (DimensionValue::Value(-2), Err("negative-dimension")),
        (
            DimensionValue::Param("n".into()),
            Ok(Dim::Symbol("n".into())),
        ),
        (DimensionValue::Param(String::new()), Ok(Dim::Unknown)),
    ];
    amphora_testing::each(&rows, |(written, expected)| {
        let found = contract(|model| {
            main_graph(model).output = vec![sample::value("y", std::slice::from_ref(written))];
        });
        let found = found
            .map(|contract| contract.outputs[0].shape.as_ref().unwrap()[0].clone())
            .map_err(|error| error.rule());
        if found == *expected {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    });
}

#[test]
fn an_output_may_have_no_shape() {
    let contract = contract(|model| {
        if let Some(TypeValue::Tensor(tensor)) =
            &mut main_graph(model).output[0].r#type.as_mut().unwrap().value
        {
            tensor.shape = None;
        }
    });
    assert_eq!(contract.unwrap().outputs[0].shape, None);
}

#[test]
fn inputs_and_outputs_without_a_usable_type_are_refused() {
    type Edit = fn(&mut ModelProto);
    let sequence = |model: &mut ModelProto| {
        let kind = TypeValue::Sequence(Box::default());
        main_graph(model).output[0].r#type.as_mut().unwrap().value = Some(kind);
    };
    let rows: &[(&str, Edit, _, &str, &str)] = &[
        (
            "no type",
            |m| main_graph(m).input[0].r#type = None,
            Malformed,
            "value-type",
            "input 'x'",
        ),
        (
            "no name",
            |m| main_graph(m).output[0].name = None,
            Malformed,
            "value-name",
            "output ''",
        ),
        (
            "sequence",
            sequence,
            Unsupported,
            "value-kind",
            "output 'y'",
        ),
        (
            "no operator set",
            |m| m.opset_import.clear(),
            Malformed,
            "opset-missing",
            "",
        ),
        (
            "two versions",
            |m| m.opset_import[1].domain = Some("ai.onnx".into()),
            Malformed,
            "opset-conflict",
            "",
        ),
        (
            "negative version",
            |m| m.opset_import[0].version = Some(-1),
            Malformed,
            "opset-version",
            "",
        ),
    ];
    amphora_testing::each(rows, |(_, edit, kind, rule, place)| match contract(edit) {
        Ok(_) => Err("accepted".into()),
        Err(error) if (error.kind(), error.rule()) != (*kind, *rule) => Err(format!("{error:?}")),
        Err(error) if !error.to_string().contains(place) => Err(format!("no place: {error}")),
        Err(_) => Ok(()),
    });
}

#[test]
fn all_faulty_outputs_are_listed_at_once() {
    let error = contract(|model| {
        let mut second = main_graph(model).output[0].clone();
        second.name = Some("z".into());
        main_graph(model).output.push(second);
        for output in &mut main_graph(model).output {
            output.r#type = None;
        }
    })
    .unwrap_err();
    let text = error.to_string();
    assert!(text.contains("'y'") && text.contains("'z'"), "{text}");
}

#[test]
fn models_older_than_operator_sets_use_the_first() {
    let contract = contract(|model| {
        model.opset_import.clear();
        model.ir_version = Some(2);
    });
    assert_eq!(contract.unwrap().opset, 1);
}
