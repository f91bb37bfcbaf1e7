//! Writes a graph as it is spelled.

use amphora_onnx::build::{Attribute, GraphBuilder, Reduction, Value};
use amphora_onnx::proto::ModelProto;
use amphora_onnx::{Dim, Dtype};
use bytes::Bytes;

use crate::graphs::{Copies, Fault, Linear, Norm, Spelling};

/// Weights that nobody would guess, the same at every run.
struct Weights(u64);

impl Weights {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((self.0 >> 40) as f32 / (1_u64 << 24) as f32 - 0.5) * 0.8
    }
}

struct Writer<'s> {
    spelling: &'s Spelling,
    graph: GraphBuilder,
    weights: Weights,
    count: usize,
    dtype: Dtype,
}

pub(crate) fn write(spelling: &Spelling) -> ModelProto {
    let mut writer = Writer {
        spelling,
        graph: GraphBuilder::new("planner", spelling.opset).unwrap(),
        weights: Weights(7),
        count: 0,
        dtype: match spelling.fault {
            Fault::DoublePrecision => Dtype::Float64,
            _ => Dtype::Float32,
        },
    };
    writer.write();
    let mut proto = writer.graph.finish();
    if spelling.fault == Fault::OldOpset {
        proto.opset_import[0].version = Some(6);
    }
    proto
}

impl Writer<'_> {
    fn write(&mut self) {
        let batch = Dim::Symbol("batch_size".into());
        let width = Dim::Fixed(self.spelling.width as u64);
        let shape = match self.spelling.fault {
            Fault::RankThreeInput => vec![batch.clone(), Dim::Fixed(1), width],
            _ => vec![batch.clone(), width],
        };
        let input = self.graph.input("input", self.dtype, &shape);
        let mut x = input.clone();
        if self.is(Fault::SecondInput) {
            let other = self.graph.input("other", self.dtype, &shape);
            x = self.graph.binary("Add", &x, &other);
        }
        if self.is(Fault::InputScaled) {
            let factor = self.graph.scalar(2.0);
            x = self.graph.binary("Mul", &x, &factor);
        }
        let mut n = self.spelling.width;
        let mut first = None;
        for &m in &self.spelling.hidden {
            let before = x.clone();
            x = self.linear(&x, n, m);
            if !self.is(Fault::NoNorm) {
                x = self.norm(&x, m);
            }
            x = self.relu(&x);
            if self.is(Fault::Residual) && n == m {
                x = self.graph.binary("Add", &x, &before);
            }
            x = self.copy(&x);
            n = m;
            first.get_or_insert((x.clone(), m));
        }
        for (number, &classes) in self.spelling.heads.iter().enumerate() {
            let (from, width) = match (self.spelling.fault, number, &first) {
                (Fault::HeadOnFirstLayer, 1, Some((x, m))) => (x.clone(), *m),
                (Fault::HeadOnInput, 1, _) => (input.clone(), self.spelling.width),
                _ => (x.clone(), n),
            };
            let mut logits = self.linear(&from, width, classes);
            if self.is(Fault::ReluOnHead) {
                logits = self.graph.unary("Relu", &logits);
            }
            let logits = self.copy(&logits);
            let mut shape = vec![batch.clone(), Dim::Fixed(classes as u64)];
            if self.is(Fault::RankThreeInput) {
                shape.insert(1, Dim::Fixed(1));
            }
            self.graph
                .output(&logits, &format!("head_{number}"), self.dtype, &shape);
        }
    }

    fn is(&self, fault: Fault) -> bool {
        self.spelling.fault == fault
    }

    fn weight(&mut self, shape: &[usize]) -> Value {
        let count = shape.iter().product::<usize>();
        let mut values: Vec<f32> = (0..count).map(|_| self.weights.next()).collect();
        match self.spelling.fault {
            Fault::NanWeight if shape.len() == 2 => values[0] = f32::NAN,
            Fault::InfiniteBias if shape.len() == 1 => values[0] = f32::INFINITY,
            _ => {}
        }
        self.constant(shape, &values)
    }

    fn constant(&mut self, shape: &[usize], values: &[f32]) -> Value {
        self.count += 1;
        let name = format!("weight_{}", self.count);
        let data: Vec<u8> = match self.dtype {
            Dtype::Float64 => values
                .iter()
                .flat_map(|v| f64::from(*v).to_le_bytes())
                .collect(),
            _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        let shape: Vec<u64> = shape.iter().map(|n| *n as u64).collect();
        self.graph
            .initializer(&name, self.dtype, &shape, Bytes::from(data))
    }

    fn copy(&mut self, x: &Value) -> Value {
        match self.spelling.copies {
            Copies::None if self.is(Fault::MaskOfDropout) => {
                let [dropped, mask] = self.graph.node_with_outputs("Dropout", &[x], &[]);
                let mask = self.graph.cast(&mask, Dtype::Float32);
                self.graph.binary("Mul", &dropped, &mask)
            }
            Copies::None if !self.is(Fault::TrainingDropout) => x.clone(),
            Copies::Identity => self.graph.unary("Identity", x),
            Copies::Dropout => self.graph.unary("Dropout", x),
            Copies::None | Copies::DropoutToldNotToTrain => {
                let ratio = self.graph.scalar(0.5);
                self.count += 1;
                let name = format!("training_{}", self.count);
                let flag = vec![u8::from(self.is(Fault::TrainingDropout))];
                let training = self.graph.initializer(&name, Dtype::Bool, &[], flag.into());
                self.graph.node("Dropout", &[x, &ratio, &training], &[])
            }
        }
    }

    fn relu(&mut self, x: &Value) -> Value {
        match self.spelling.fault {
            Fault::NoRelu => x.clone(),
            Fault::LeakyRelu => {
                let slope = [("alpha", Attribute::Float(0.01))];
                self.graph.node("LeakyRelu", &[x], &slope)
            }
            Fault::SecondRelu => {
                let once = self.graph.unary("Relu", x);
                self.graph.unary("Relu", &once)
            }
            _ => self.graph.unary("Relu", x),
        }
    }

    fn linear(&mut self, x: &Value, n: usize, m: usize) -> Value {
        let int = Attribute::Int;
        let gemm = |graph: &mut GraphBuilder, inputs: &[&Value], more: &[(&str, Attribute)]| {
            graph.node("Gemm", inputs, more)
        };
        match self.spelling.fault {
            Fault::Alpha | Fault::Beta => {
                let (w, b) = (self.weight(&[m, n]), self.weight(&[m]));
                let key = match self.spelling.fault {
                    Fault::Alpha => "alpha",
                    _ => "beta",
                };
                let more = [("transB", int(1)), (key, Attribute::Float(0.5))];
                return gemm(&mut self.graph, &[x, &w, &b], &more);
            }
            Fault::TransposedInput => {
                let (w, b) = (self.weight(&[m, n]), self.weight(&[m]));
                let turned = self.graph.transpose(x, &[1, 0]);
                let more = [("transB", int(1)), ("transA", int(1))];
                return gemm(&mut self.graph, &[&turned, &w, &b], &more);
            }
            Fault::WeightFromInput => {
                let name = format!("weights_{}", self.count);
                self.count += 1;
                let shape = [Dim::Fixed(n as u64), Dim::Fixed(m as u64)];
                let w = self.graph.input(&name, self.dtype, &shape);
                return self.graph.binary("MatMul", x, &w);
            }
            Fault::BiasOfOneElement => {
                let (w, b) = (self.weight(&[n, m]), self.weight(&[1]));
                let product = self.graph.binary("MatMul", x, &w);
                return self.graph.binary("Add", &product, &b);
            }
            _ => {}
        }
        let turned = matches!(
            self.spelling.linear,
            Linear::GemmTransposed | Linear::GemmOfTranspose | Linear::MatMulOfTranspose
        );
        let mut w = self.weight(&if turned { [m, n] } else { [n, m] });
        match self.spelling.linear {
            Linear::GemmTransposed => {
                let b = self.weight(&[m]);
                self.graph.linear(x, &w, &b)
            }
            Linear::Gemm => {
                let b = self.weight(&[1, m]);
                gemm(&mut self.graph, &[x, &w, &b], &[])
            }
            Linear::GemmOfTranspose => {
                w = self.graph.unary("Transpose", &w);
                let b = self.weight(&[m]);
                gemm(&mut self.graph, &[x, &w, &b], &[])
            }
            // Without a bias, `beta` multiplies nothing.
            Linear::GemmWithoutBias => gemm(
                &mut self.graph,
                &[x, &w],
                &[("beta", Attribute::Float(0.0))],
            ),
            Linear::MatMul => {
                let b = self.weight(&[m]);
                let product = self.graph.binary("MatMul", x, &w);
                self.graph.binary("Add", &product, &b)
            }
            Linear::MatMulOfTranspose => {
                w = self.graph.transpose(&w, &[1, 0]);
                let b = self.weight(&[m]);
                let product = self.graph.binary("MatMul", x, &w);
                self.graph.binary("Add", &product, &b)
            }
            Linear::MatMulBiasFirst => {
                let b = self.weight(&[1, m]);
                let product = self.graph.binary("MatMul", x, &w);
                self.graph.binary("Add", &b, &product)
            }
            Linear::MatMulWithoutBias => self.graph.binary("MatMul", x, &w),
        }
    }

    fn norm(&mut self, x: &Value, m: usize) -> Value {
        let width = match self.spelling.fault {
            Fault::ScaleOfOneElement => 1,
            _ => m,
        };
        let (scale, shift) = (self.weight(&[width]), self.weight(&[m]));
        let native = |graph: &mut GraphBuilder, inputs: &[&Value], axis: i64| {
            let epsilon = ("epsilon", Attribute::Float(1e-3));
            graph.node(
                "LayerNormalization",
                inputs,
                &[("axis", Attribute::Int(axis)), epsilon],
            )
        };
        if self.is(Fault::NormOverBatch) {
            return native(&mut self.graph, &[x, &scale, &shift], 0);
        }
        let in_parts = matches!(
            self.spelling.fault,
            Fault::MeanOverBatch
                | Fault::MeanOverAll
                | Fault::MeanWithoutAxis
                | Fault::Cubed
                | Fault::SubReversed
                | Fault::DivReversed
                | Fault::MeanOfSomethingElse
                | Fault::SquareOfSomethingElse
                | Fault::EpsilonOfEachColumn
                | Fault::NegativeEpsilon
                | Fault::ScaleOfOneElement
        );
        match self.spelling.norm {
            _ if in_parts => self.parts(x, &scale, &shift, m),
            Norm::Builder => self.graph.layer_norm(x, &scale, &shift, 1e-5),
            Norm::Native => native(&mut self.graph, &[x, &scale, &shift], 1),
            Norm::NativeWithoutShift => native(&mut self.graph, &[x, &scale], -1),
            _ => self.parts(x, &scale, &shift, m),
        }
    }

    fn mean(&mut self, x: &Value) -> Value {
        let keep = !self.is(Fault::MeanWithoutAxis);
        let axes: &[i64] = match self.spelling.fault {
            Fault::MeanOverBatch => &[0],
            Fault::MeanOverAll => &[0, 1],
            _ => &[-1],
        };
        let mean = self.graph.reduce(Reduction::Mean, x, axes, keep);
        match keep {
            true => mean,
            // The sums still fit: the batch is as large as the layer is wide in no test.
            false => self.graph.unsqueeze(&mean, &[0]),
        }
    }

    fn parts(&mut self, x: &Value, scale: &Value, shift: &Value, m: usize) -> Value {
        let fault = self.spelling.fault;
        let other_order = self.spelling.norm == Norm::PartsOtherOrder;
        let something_else = self.graph.unary("Abs", x);
        let mean = match fault {
            Fault::MeanOfSomethingElse => self.mean(&something_else),
            _ => self.mean(x),
        };
        let centered = match fault {
            Fault::SubReversed => self.graph.binary("Sub", &mean, x),
            _ => self.graph.binary("Sub", x, &mean),
        };
        let again = match (fault, self.spelling.norm) {
            (Fault::SquareOfSomethingElse, _) => something_else,
            (_, Norm::PartsCenteredTwice) => {
                let mean = self.mean(x);
                self.graph.binary("Sub", x, &mean)
            }
            _ => centered.clone(),
        };
        let squared = match self.spelling.norm {
            Norm::PartsSquaredByMul => self.graph.binary("Mul", &again, &again),
            _ => {
                let exponent = if fault == Fault::Cubed { 3.0 } else { 2.0 };
                let exponent = self.graph.scalar(exponent);
                self.graph.binary("Pow", &again, &exponent)
            }
        };
        let variance = self.mean(&squared);
        let epsilon = match fault {
            Fault::EpsilonOfEachColumn => {
                let values: Vec<f32> = (0..m).map(|n| 1e-3 * (n + 1) as f32).collect();
                self.constant(&[m], &values)
            }
            Fault::NegativeEpsilon => self.graph.scalar(-1e-5),
            _ => self.graph.scalar(1e-5),
        };
        let shifted = match other_order {
            true => self.graph.binary("Add", &epsilon, &variance),
            false => self.graph.binary("Add", &variance, &epsilon),
        };
        let deviation = self.graph.unary("Sqrt", &shifted);
        let ratio = match fault {
            Fault::DivReversed => self.graph.binary("Div", &deviation, &centered),
            _ => self.graph.binary("Div", &centered, &deviation),
        };
        let scaled = match other_order {
            true => self.graph.binary("Mul", scale, &ratio),
            false => self.graph.binary("Mul", &ratio, scale),
        };
        match other_order {
            true => self.graph.binary("Add", shift, &scaled),
            false => self.graph.binary("Add", &scaled, shift),
        }
    }
}
