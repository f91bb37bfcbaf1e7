//! Postprocessing: recorded embeddings, a second implementation, and steps that do not fit.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::Path;

use amphora_bundle::manifest::{Pooling, Postprocessing};
use amphora_error::{ErrorKind, Result};
use amphora_runtime::postprocess::{
    Answered, Context, are_distributions, postprocess, sentence_transformers,
};
use amphora_runtime::{Tensor, read_safetensors};
use amphora_testing::{each, fixture};
use bytes::Bytes;

fn apply(tensor: &Tensor, steps: &[Postprocessing], mask: Option<&Tensor>) -> Result<Answered> {
    let context = Context {
        output: "y",
        mask,
        labels: None,
    };
    postprocess(tensor, steps, &context)
}

fn furthest(found: &Tensor, expected: &[f64]) -> f64 {
    let found = found.to_f64().unwrap();
    assert_eq!(found.len(), expected.len());
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |most, d| if d.is_nan() { d } else { most.max(d) })
}

/// The steps of a directory.
fn steps_of(directory: &Path) -> Result<Vec<Postprocessing>> {
    let file = |name: &str| Ok(fs_err::read(directory.join(name)).ok().map(Bytes::from));
    sentence_transformers(&file)
}

#[test]
fn minilm_embeddings_come_out_of_the_recorded_hidden_states() {
    let Some(folder) = fixture("minilm") else {
        return;
    };
    let vectors = read_safetensors(folder.join("vectors.safetensors"), 1 << 30).unwrap();
    let steps = steps_of(&folder).unwrap();
    let rows: Vec<usize> = (0..24).collect();
    each(&rows, |row| {
        let hidden = &vectors[&format!("last_hidden_state_{row:02}")];
        let shape = [&[1], hidden.shape()].concat();
        let hidden = hidden.clone().reshaped(shape).unwrap();
        for (steps, name) in [(&steps[..1], "pooled"), (&steps[..], "embeddings")] {
            let recorded = vectors[name].to_f64().unwrap();
            let expected = &recorded[row * 384..(row + 1) * 384];
            let answer = apply(&hidden, steps, None).unwrap();
            let distance = furthest(&answer.tensor, expected);
            if !(answer.is_embedding && answer.tensor.shape() == [1, 384] && distance < 1e-6) {
                return Err(format!("{name} is {distance:e} away"));
            }
        }
        Ok(())
    });
}

#[test]
fn the_last_token_of_a_padded_batch_makes_the_recorded_embedding() {
    let Some(folder) = fixture("qwen3_embedding_tiny") else {
        return;
    };
    let vectors = read_safetensors(folder.join("vectors.safetensors"), 1 << 30).unwrap();
    let steps = steps_of(&folder).unwrap();
    let left = &vectors["attention_mask"];
    let &[batch, time] = left.shape() else {
        panic!("{:?}", left.shape());
    };
    let count = |row: usize| {
        let mask = left.as_slice::<i64>().unwrap();
        mask[row * time..(row + 1) * time].iter().sum::<i64>() as usize
    };
    let last = vectors["last_token_hidden"].as_slice::<f32>().unwrap();
    let width = last.len() / batch;
    // Everything but the last token of each text is not a number.
    let pool = |mask: &Tensor, place: &dyn Fn(usize) -> usize| {
        let mut hidden = vec![f32::NAN; batch * time * width];
        for row in 0..batch {
            let start = (row * time + place(row)) * width;
            hidden[start..start + width].copy_from_slice(&last[row * width..(row + 1) * width]);
        }
        let hidden = Tensor::new([batch, time, width], hidden).unwrap();
        apply(&hidden, &steps, Some(mask)).unwrap().tensor
    };
    let recorded = vectors["embeddings"].to_f64().unwrap();
    assert!(furthest(&pool(left, &|_| time - 1), &recorded) < 1e-6);

    // The same texts padded on the right.
    let right = (0..batch).flat_map(|row| (0..time).map(move |at| i64::from(at < count(row))));
    let right = Tensor::new([batch, time], right.collect::<Vec<i64>>()).unwrap();
    assert!(furthest(&pool(&right, &|row| count(row) - 1), &recorded) < 1e-6);
}

#[test]
fn probabilities_classes_and_names_agree_with_a_plain_computation() {
    let logits = vec![1.0_f32, 3.0, 3.0, -2.0, 0.5, 0.0, 2.5, 2.0];
    let tensor = Tensor::new([2, 4], logits.clone()).unwrap();
    let labels: BTreeMap<u64, String> = (0..).zip(["a", "b", "c", "d"].map(String::from)).collect();
    let context = Context {
        output: "logits",
        mask: None,
        labels: Some(&labels),
    };
    let temperature = Some(2.0);
    let steps = [
        Postprocessing::Softmax { temperature },
        Postprocessing::Labels { top_k: Some(2) },
    ];
    let answer = postprocess(&tensor, &steps, &context).unwrap();
    let expected: Vec<f64> = logits
        .chunks(4)
        .flat_map(|row| {
            let powers: Vec<f64> = row.iter().map(|x| (f64::from(*x) / 2.0).exp()).collect();
            let total: f64 = powers.iter().sum();
            powers.into_iter().map(move |power| power / total)
        })
        .collect();
    assert!(furthest(&answer.tensor, &expected) < 1e-6);
    let named = answer.labels.unwrap();
    let names: Vec<Vec<&str>> = named
        .iter()
        .map(|row| row.iter().map(|label| label.label.as_str()).collect())
        .collect();
    assert_eq!(names, [["b", "c"], ["c", "d"]]);
    assert!((named[1][0].probability - expected[6]).abs() < 1e-12);
    let classes = apply(&tensor, &[Postprocessing::Argmax], None).unwrap();
    assert_eq!(classes.tensor, Tensor::new([2], vec![1_i64, 2]).unwrap());
}

#[test]
fn classes_are_named_by_probabilities_and_never_by_what_looks_like_them() {
    let labels: BTreeMap<u64, String> = (0..).zip(["a", "b", "c"].map(String::from)).collect();
    let name = |values: [f32; 6], labels| {
        let context = Context {
            output: "y",
            mask: None,
            labels: Some(labels),
        };
        let tensor = Tensor::new([2, 3], values.to_vec()).unwrap();
        let steps = [Postprocessing::Labels { top_k: Some(1) }];
        let answer = postprocess(&tensor, &steps, &context)?;
        let best = |row: &Vec<_>| {
            let label: &amphora_runtime::postprocess::Label = &row[0];
            (label.class, label.probability)
        };
        Ok(answer.labels.unwrap().iter().map(best).collect::<Vec<_>>())
    };
    // Several may hold at once: the values are taken as they are, up to the last bit above 1.
    let found: Result<Vec<_>> = name([0.25, 0.75, 0.5, 1.000_000_1, 0.0, 0.0], &labels);
    assert_eq!(found.unwrap(), [(1, 0.75), (0, f64::from(1.000_000_1_f32))]);
    // One row of the two could be probabilities; the other tells that both are logits.
    let error = name([0.25, 0.75, 0.0, 1.0, 3.0, -2.0], &labels).unwrap_err();
    assert!(error.to_string().contains("no probabilities"), "{error}");
    assert!(error.hint_text().unwrap().contains("softmax"));
    let others: BTreeMap<u64, String> = [(0, "a"), (1, "b"), (3, "d")]
        .map(|(class, label)| (class, label.to_owned()))
        .into();
    let error = name([0.5; 6], &others).unwrap_err();
    assert!(error.to_string().contains("found class 3"), "{error}");

    let rows: [(&[f32], bool); 4] = [
        (&[0.25, 0.75, 0.0, 1.0], true),
        (&[0.25, 0.75, 1.0, 1.0], false),
        (&[-0.5, 1.5], false),
        (&[f32::NAN, 1.0], false),
    ];
    each(&rows, |(values, expected)| {
        let tensor = Tensor::new([values.len() / 2, 2], values.to_vec()).unwrap();
        match are_distributions(&tensor) == *expected {
            true => Ok(()),
            false => Err("the answer is another"),
        }
    });
}

#[test]
fn an_embedding_is_a_vector_and_nothing_made_of_it() {
    let hidden = Tensor::new([1, 2, 2], vec![1.0_f32, 3.0, 0.0, 0.0]).unwrap();
    let pool = Postprocessing::Pooling { mode: Pooling::Cls };
    let softmax = Postprocessing::Softmax { temperature: None };
    let rows = [
        (vec![pool.clone()], true),
        (vec![pool.clone(), Postprocessing::Normalize], true),
        (vec![Postprocessing::Normalize], false),
        (vec![pool.clone(), softmax], false),
        (vec![pool, Postprocessing::Argmax], false),
    ];
    each(&rows, |(steps, expected)| {
        let answer = apply(&hidden, steps, None).map_err(|error| error.to_string())?;
        match answer.is_embedding == *expected {
            true => Ok(()),
            false => Err(format!("{answer:?}")),
        }
    });
}

#[test]
fn steps_that_do_not_fit_are_refused_by_name() {
    let mean = Postprocessing::Pooling {
        mode: Pooling::Mean,
    };
    let last = Postprocessing::Pooling {
        mode: Pooling::Last,
    };
    let hidden = Tensor::new([1, 2, 2], vec![1.0_f32; 4]).unwrap();
    let flat = Tensor::new([2, 2], vec![1.0_f32; 4]).unwrap();
    let padding = Tensor::new([1, 2], vec![0_i64; 2]).unwrap();
    let longer = Tensor::new([1, 3], vec![1_i64; 3]).unwrap();
    let words = Tensor::new([1], vec!["a".to_owned()]).unwrap();
    let counts = Tensor::new([1], vec![1_i64]).unwrap();
    let cold = Postprocessing::Softmax {
        temperature: Some(0.0),
    };
    let rows = [
        (&flat, vec![mean.clone()], None, "pooling needs"),
        (&hidden, vec![mean.clone()], Some(&longer), "attention mask"),
        (&hidden, vec![last], Some(&padding), "every token"),
        (&flat, vec![cold], None, "temperature"),
        (
            &flat,
            vec![Postprocessing::Labels { top_k: None }],
            None,
            "no labels",
        ),
        (
            &flat,
            vec![Postprocessing::Argmax, Postprocessing::Normalize],
            None,
            "argmax",
        ),
        (
            &words,
            vec![Postprocessing::Normalize],
            None,
            "no floating-point numbers",
        ),
        (
            &counts,
            vec![Postprocessing::Normalize],
            None,
            "no floating-point numbers",
        ),
    ];
    each(&rows, |(tensor, steps, mask, text)| {
        let error = apply(tensor, steps, *mask).unwrap_err();
        let shown = error.to_string();
        let named = shown.contains(text) && shown.contains("'y'");
        match error.kind() == ErrorKind::Incompatible && named {
            true => Ok(()),
            false => Err(shown),
        }
    });
    // The mean of no token is the zero vector.
    let answer = apply(&hidden, &[mean], Some(&padding)).unwrap();
    assert_eq!(
        answer.tensor,
        Tensor::new([1, 2], vec![0.0_f32; 2]).unwrap()
    );
}

#[test]
fn directories_of_sentence_transformers_are_read_or_refused() {
    let pooled = |pooling: &'static str| {
        let modules = r#"[{"type": "sentence_transformers.models.Transformer", "path": ""},
            {"type": "sentence_transformers.models.Pooling", "path": "p"}]"#;
        move |name: &str| {
            Ok(match name {
                "modules.json" => Some(Bytes::from(modules)),
                "p/config.json" => Some(Bytes::from(pooling)),
                _ => None,
            })
        }
    };
    let cls = Ok(vec![Postprocessing::Pooling { mode: Pooling::Cls }]);
    let rows: [(&str, std::result::Result<Vec<Postprocessing>, ErrorKind>); 5] = [
        (r#"{"pooling_mode_cls_token": true}"#, cls.clone()),
        (r#"{"pooling_mode": "cls"}"#, cls),
        (
            r#"{"pooling_mode_max_tokens": true}"#,
            Err(ErrorKind::Unsupported),
        ),
        (
            r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}"#,
            Err(ErrorKind::Unsupported),
        ),
        ("{", Err(ErrorKind::Malformed)),
    ];
    each(&rows, |(pooling, expected)| {
        let found = sentence_transformers(&pooled(pooling)).map_err(|error| error.kind());
        match found == *expected {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    });
    let dense = |name: &str| {
        let modules = r#"[{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]"#;
        Ok((name == "modules.json").then(|| Bytes::from(modules)))
    };
    let refused = sentence_transformers(&dense).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert_eq!(sentence_transformers(&|_| Ok(None)).unwrap(), []);
}
