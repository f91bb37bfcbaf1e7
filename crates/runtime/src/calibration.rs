//! Temperature scaling of logits (Guo et al. 2017, "On Calibration of Modern Neural Networks").

use std::collections::BTreeMap;

use amphora_error::{Error, Result, quoted};
use amphora_files::json;
use half::{bf16, f16};
use serde_json::Value;

use crate::Tensor;
use crate::tensor::Data;

/// A `calibration.json`: the temperature by which the logits of each head are divided.
///
/// ```
/// use amphora_runtime::{Calibration, Tensor};
///
/// let calibration = Calibration::parse(
///     br#"{"method": "temperature_scaling", "temperature": {"swarm": 2.0}}"#,
/// )?;
/// let logits = Tensor::new([1, 2], vec![1.0_f32, -3.0])?;
/// assert_eq!(
///     calibration.apply("swarm", logits)?.as_slice::<f32>(),
///     Some(&[0.5, -1.5][..])
/// );
/// # Ok::<(), amphora_error::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Calibration {
    temperature: BTreeMap<String, f64>,
}

impl Calibration {
    /// Parses the content of a `calibration.json`.
    ///
    /// `method` is `"none"` or `"temperature_scaling"`. `temperature` maps heads (output names) to
    /// finite numbers above 0; a head that is not named keeps its logits. Further keys, such as
    /// `validation_ece` and `calibration_date`, inform people and are not interpreted.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let value = json::parse(bytes)?;
        let refuse = |what: &str| Error::malformed("calibration", what.to_owned());
        let object = value
            .as_object()
            .ok_or_else(|| refuse("the calibration is not a JSON object"))?;
        let method = object
            .get("method")
            .and_then(Value::as_str)
            .ok_or_else(|| refuse("the calibration has no method").at("field 'method'"))?;
        let temperature = object.get("temperature");
        match method {
            "none" => return Ok(Self::default()),
            "temperature_scaling" => {}
            other => {
                return Err(Error::unsupported(
                    "calibration-method",
                    format!("the calibration method {} is unknown", quoted(other)),
                )
                .expected("'none' or 'temperature_scaling'")
                .at("field 'method'"));
            }
        }
        let heads = temperature.and_then(Value::as_object).ok_or_else(|| {
            refuse("temperature scaling needs a temperature for each head")
                .at("field 'temperature'")
        })?;
        Self::new(heads.iter().map(|(head, value)| {
            // Anything but a number becomes NaN and is refused with the other bad temperatures.
            (head.clone(), value.as_f64().unwrap_or(f64::NAN))
        }))
    }

    /// A calibration from the temperature of each head; all temperatures that are not finite and
    /// above 0 are reported at once.
    pub fn new(temperature: impl IntoIterator<Item = (String, f64)>) -> Result<Self> {
        let temperature: BTreeMap<String, f64> = temperature.into_iter().collect();
        let faults: Vec<String> = temperature
            .iter()
            .filter(|(_, value)| !(value.is_finite() && **value > 0.0))
            .map(|(head, _)| {
                format!(
                    "the temperature of {} is not a finite number above 0",
                    quoted(head)
                )
            })
            .collect();
        if !faults.is_empty() {
            return Err(Error::malformed(
                "calibration-temperature",
                "the calibration has unusable temperatures",
            )
            .faults(faults));
        }
        Ok(Self { temperature })
    }

    /// The temperature of each head that has one.
    pub fn temperatures(&self) -> &BTreeMap<String, f64> {
        &self.temperature
    }

    /// Checks that every head exists among the outputs of a graph and is of a float type.
    pub fn check(&self, contract: &amphora_onnx::Contract) -> Result<()> {
        let faults: Vec<String> = self
            .temperature
            .keys()
            .filter_map(
                |head| match contract.outputs.iter().find(|output| output.name == *head) {
                    None => Some(format!("the graph has no output {}", quoted(head))),
                    Some(output) if !is_float(output.dtype) => {
                        Some(format!("{} is {}, not a float", quoted(head), output.dtype))
                    }
                    Some(_) => None,
                },
            )
            .collect();
        if faults.is_empty() {
            return Ok(());
        }
        Err(
            Error::incompatible("calibration-head", "the calibration does not fit the graph")
                .faults(faults),
        )
    }

    /// `logits / temperature` when the head named `output` has a temperature other than 1, in the
    /// type of the logits; otherwise the tensor as it is.
    pub fn apply(&self, output: &str, logits: Tensor) -> Result<Tensor> {
        let Some(&temperature) = self.temperature.get(output).filter(|t| **t != 1.0) else {
            return Ok(logits);
        };
        let data = match logits.data() {
            Data::F32(values) => {
                Data::F32(values.iter().map(|&v| v / temperature as f32).collect())
            }
            Data::F64(values) => Data::F64(values.iter().map(|&v| v / temperature).collect()),
            Data::F16(values) => Data::F16(
                values
                    .iter()
                    .map(|&v| f16::from_f64(f64::from(v) / temperature))
                    .collect(),
            ),
            Data::Bf16(values) => Data::Bf16(
                values
                    .iter()
                    .map(|&v| bf16::from_f64(f64::from(v) / temperature))
                    .collect(),
            ),
            _ => {
                return Err(Error::incompatible(
                    "calibration-head",
                    format!("{} is not a float, so it cannot be scaled", quoted(output)),
                ));
            }
        };
        Ok(Tensor::from_checked(
            logits.dtype(),
            logits.shape().to_vec(),
            data,
        ))
    }
}

fn is_float(dtype: amphora_onnx::Dtype) -> bool {
    use amphora_onnx::Dtype;
    matches!(
        dtype,
        Dtype::Float32 | Dtype::Float64 | Dtype::Float16 | Dtype::Bfloat16
    )
}
