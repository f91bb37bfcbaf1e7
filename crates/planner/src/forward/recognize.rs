//! Finding the planner MLP in a graph, from the outputs back to the input.

use amphora_onnx::proto::NodeProto;
use amphora_onnx::{Dim, Dtype, Model};

use super::graph::{Graph, attribute, either_way, float, int};
use super::kernel::{Aligned, Hidden, Network};
use super::{Head, Linear, SparseMlp};

pub(super) fn recognize(model: &Model) -> Option<SparseMlp> {
    let contract = model.contract().ok()?;
    let [input] = &contract.inputs[..] else {
        return None;
    };
    let width = match (input.dtype, input.shape.as_deref()?) {
        (Dtype::Float32, [_, Dim::Fixed(width)]) => usize::try_from(*width).ok()?,
        _ => return None,
    };
    let graph = Graph::of(model, contract.opset, vec![&input.name])?;
    let mut heads = Vec::new();
    let mut linears = Vec::new();
    let mut trunk: Option<&str> = None;
    for output in &contract.outputs {
        let (linear, x) = linear(&graph, &output.name)?;
        if *trunk.get_or_insert(x) != x {
            return None;
        }
        heads.push(Head {
            name: output.name.clone(),
            classes: linear.bias.len(),
        });
        linears.push(linear);
    }
    let mut hidden = Vec::new();
    let mut x = trunk?;
    while !graph.is_input(x) {
        let (layer, before) = hidden_layer(&graph, x)?;
        hidden.push(layer);
        x = before;
    }
    hidden.reverse();
    chained(width, &hidden, &linears).then_some(())?;
    Some(SparseMlp {
        input: input.name.clone(),
        network: Network::new(hidden, &linears)?,
        heads,
    })
}

/// Whether each layer is as wide as the one before it leaves off.
fn chained(width: usize, hidden: &[Hidden], heads: &[Linear]) -> bool {
    let mut n = width;
    for layer in hidden {
        let outputs = layer.linear.bias.len();
        if layer.linear.weight.get().len() != n * outputs || layer.scale.len() != outputs {
            return false;
        }
        n = outputs;
    }
    n > 0
        && heads
            .iter()
            .all(|h| h.weight.get().len() == n * h.bias.len())
}

/// ReLU of LayerNorm of Linear, and what goes in.
fn hidden_layer<'g>(graph: &Graph<'g>, name: &str) -> Option<(Hidden, &'g str)> {
    let relu = graph.node(name, "Relu")?;
    let (norm, x) = layer_norm(graph, relu.input.first()?)?;
    let (linear, before) = linear(graph, x)?;
    let n = linear.bias.len();
    let layer = Hidden {
        scale: graph.vector(norm.scale, n)?,
        shift: match norm.shift {
            Some(shift) => graph.vector(shift, n)?,
            None => vec![0.0; n],
        },
        epsilon: norm.epsilon,
        linear,
    };
    Some((layer, before))
}

/// `x * W + b` as Gemm, or as MatMul with or without an Add, and what goes in.
fn linear<'g>(graph: &Graph<'g>, name: &str) -> Option<(Linear, &'g str)> {
    if let Some(gemm) = graph.node(name, "Gemm") {
        return gemm_layer(graph, gemm);
    }
    if let Some(matmul) = graph.node(name, "MatMul") {
        let [x, w] = &matmul.input[..] else {
            return None;
        };
        let (weight, n) = matrix(graph, w, false)?;
        let bias = vec![0.0; n];
        return Some((Linear { weight, bias }, graph.source(x)));
    }
    let add = graph.node(name, "Add")?;
    either_way(add)?.into_iter().find_map(|(product, bias)| {
        graph.node(product, "MatMul")?;
        let (without, x) = linear(graph, product)?;
        let bias = graph.vector(bias, without.bias.len())?;
        Some((Linear { bias, ..without }, x))
    })
}

fn gemm_layer<'g>(graph: &Graph<'g>, gemm: &'g NodeProto) -> Option<(Linear, &'g str)> {
    let (x, w, bias) = match &gemm.input[..] {
        [x, w] => (x, w, None),
        [x, w, bias] => (x, w, Some(bias).filter(|name| !name.is_empty())),
        _ => return None,
    };
    let plain = float(gemm, "alpha", 1.0) == 1.0
        && (bias.is_none() || float(gemm, "beta", 1.0) == 1.0)
        && int(gemm, "transA", 0) == 0;
    plain.then_some(())?;
    let (weight, n) = matrix(graph, w, int(gemm, "transB", 0) != 0)?;
    let bias = match bias {
        Some(bias) => graph.vector(bias, n)?,
        None => vec![0.0; n],
    };
    Some((Linear { weight, bias }, graph.source(x)))
}

/// A constant matrix with one row for each input of its layer, and the number of outputs.
fn matrix(graph: &Graph<'_>, name: &str, transposed: bool) -> Option<(Aligned, usize)> {
    let (name, transposed) = match graph.node(name, "Transpose") {
        None => (name, transposed),
        Some(node) => {
            // Without `perm`, the axes are reversed, which for a matrix is the same.
            let order = attribute(node, "perm").map(|a| &a.ints[..]);
            matches!(order, None | Some([1, 0])).then_some(())?;
            (node.input.first()?.as_str(), !transposed)
        }
    };
    let constant = graph.constant(name)?;
    let [rows, columns] = constant.dims[..] else {
        return None;
    };
    match transposed {
        false => Some((constant.values.as_slice().into(), columns)),
        true => Some((transpose(&constant.values, rows, columns), rows)),
    }
}

/// In tiles, since a long stride would miss the cache at each step.
fn transpose(values: &[f32], rows: usize, columns: usize) -> Aligned {
    const TILE: usize = 16;
    let mut aligned = Aligned::zeros(values.len());
    let turned = aligned.get_mut();
    for top in (0..rows).step_by(TILE) {
        for left in (0..columns).step_by(TILE) {
            for column in left..(left + TILE).min(columns) {
                for row in top..(top + TILE).min(rows) {
                    turned[column * rows + row] = values[row * columns + column];
                }
            }
        }
    }
    aligned
}

struct Norm<'g> {
    scale: &'g str,
    shift: Option<&'g str>,
    epsilon: f32,
}

/// Layer normalization over the last axis, as one node or in its parts, and what goes in.
fn layer_norm<'g>(graph: &Graph<'g>, name: &str) -> Option<(Norm<'g>, &'g str)> {
    let Some(node) = graph.node(name, "LayerNormalization") else {
        return norm_in_parts(graph, name);
    };
    let (x, scale, shift) = match &node.input[..] {
        [x, scale] => (x, scale, None),
        [x, scale, shift] => (x, scale, Some(shift.as_str())),
        _ => return None,
    };
    // The values are matrices, so 1 is the last axis; 1 is also the code of float32.
    let plain = matches!(int(node, "axis", -1), -1 | 1) && int(node, "stash_type", 1) == 1;
    plain.then_some(())?;
    let norm = Norm {
        scale,
        shift: shift.filter(|name| !name.is_empty()),
        epsilon: usable_epsilon(float(node, "epsilon", 1e-5))?,
    };
    Some((norm, graph.source(x)))
}

/// `centered / sqrt(mean(centered^2) + epsilon) * scale + shift`.
fn norm_in_parts<'g>(graph: &Graph<'g>, name: &str) -> Option<(Norm<'g>, &'g str)> {
    let add = graph.node(name, "Add")?;
    either_way(add)?.into_iter().find_map(|(product, shift)| {
        let product = graph.node(product, "Mul")?;
        either_way(product)?.into_iter().find_map(|(ratio, scale)| {
            let (epsilon, x) = normalized(graph, ratio)?;
            let norm = Norm {
                scale,
                shift: Some(shift),
                epsilon,
            };
            Some((norm, x))
        })
    })
}

/// The epsilon of `centered / sqrt(mean(centered^2) + epsilon)`, and what is centered.
fn normalized<'g>(graph: &Graph<'g>, name: &str) -> Option<(f32, &'g str)> {
    let ratio = graph.node(name, "Div")?;
    let [above, below] = &ratio.input[..] else {
        return None;
    };
    let x = centered(graph, above)?;
    let root = graph.node(below, "Sqrt")?;
    let shifted = graph.node(root.input.first()?, "Add")?;
    let (variance, epsilon) = either_way(shifted)?
        .into_iter()
        .find_map(|(variance, epsilon)| Some((variance, graph.scalar(epsilon)?)))?;
    let squared = mean_of(graph, variance)?;
    let same = centered(graph, square_root_of(graph, squared)?)? == x;
    same.then_some((usable_epsilon(epsilon)?, x))
}

/// `x` of `x - mean(x)`.
fn centered<'g>(graph: &Graph<'g>, name: &str) -> Option<&'g str> {
    let difference = graph.node(name, "Sub")?;
    let [x, mean] = &difference.input[..] else {
        return None;
    };
    let x = graph.source(x);
    (graph.source(mean_of(graph, mean)?) == x).then_some(x)
}

/// `x` of the mean of `x` over its last axis, which stays as an axis of size 1.
fn mean_of<'g>(graph: &Graph<'g>, name: &str) -> Option<&'g str> {
    let mean = graph.node(name, "ReduceMean")?;
    let (x, axes) = match &mean.input[..] {
        [x] => (x, attribute(mean, "axes")?.ints.clone()),
        [x, axes] => (x, graph.integers(axes)?),
        _ => return None,
    };
    let last = matches!(axes[..], [-1 | 1]) && int(mean, "keepdims", 1) == 1;
    last.then_some(x)
}

/// `x` of `x ^ 2` or `x * x`.
fn square_root_of<'g>(graph: &Graph<'g>, name: &str) -> Option<&'g str> {
    if let Some(product) = graph.node(name, "Mul") {
        let [a, b] = &product.input[..] else {
            return None;
        };
        return (graph.source(a) == graph.source(b)).then_some(a);
    }
    let power = graph.node(name, "Pow")?;
    let [x, exponent] = &power.input[..] else {
        return None;
    };
    (graph.scalar(exponent)? == 2.0).then_some(x)
}

/// Without a positive epsilon a constant row would be divided by zero.
fn usable_epsilon(epsilon: f32) -> Option<f32> {
    (epsilon.is_finite() && epsilon > 0.0).then_some(epsilon)
}
