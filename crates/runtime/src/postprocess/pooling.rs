//! One vector for each sequence.

use amphora_bundle::manifest::Pooling;
use amphora_error::Result;

use super::{Context, Values, misfit};

/// `[batch, time, width]` to `[batch, width]`. The mean of a sequence without tokens is zero, as in
/// `sentence-transformers`.
pub(super) fn pool(values: &Values, mode: Pooling, context: &Context<'_>) -> Result<Values> {
    let &[batch, time, width] = values.shape.as_slice() else {
        return Err(misfit("pooling needs a vector for each token", context)
            .expected("shape [batch, time, width]")
            .found(format!("shape {:?}", values.shape)));
    };
    let mask = tokens(batch, time, context)?;
    let mut data = Vec::with_capacity(batch * width);
    for row in 0..batch {
        let counted: Vec<usize> = (0..time).filter(|at| mask[row * time + at]).collect();
        let vector = |at: usize| {
            let start = (row * time + at) * width;
            &values.data[start..start + width]
        };
        let one = match mode {
            Pooling::Mean => None,
            Pooling::Cls => Some(counted.first()),
            Pooling::Last => Some(counted.last()),
        };
        match one {
            Some(Some(&at)) => data.extend_from_slice(vector(at)),
            Some(None) => {
                return Err(misfit("every token of a sequence is padding", context)
                    .found(format!("sequence {row}")));
            }
            None => {
                let start = data.len();
                data.resize(start + width, 0.0);
                for &at in &counted {
                    for (sum, value) in data[start..].iter_mut().zip(vector(at)) {
                        *sum += value;
                    }
                }
                let count = counted.len().max(1) as f64;
                data[start..].iter_mut().for_each(|sum| *sum /= count);
            }
        }
    }
    Ok(Values {
        shape: vec![batch, width],
        data,
    })
}

/// Which tokens are none of the padding.
fn tokens(batch: usize, time: usize, context: &Context<'_>) -> Result<Vec<bool>> {
    let Some(mask) = context.mask else {
        return Ok(vec![true; batch * time]);
    };
    if mask.shape() != [batch, time] {
        return Err(
            misfit("the attention mask is not that of the output", context)
                .expected(format!("shape [{batch}, {time}]"))
                .found(format!("shape {:?}", mask.shape())),
        );
    }
    let values = mask.to_f64().ok_or_else(|| {
        let found = mask.dtype().to_string();
        misfit("the attention mask holds no numbers", context).found(found)
    })?;
    Ok(values.into_iter().map(|value| value != 0.0).collect())
}
