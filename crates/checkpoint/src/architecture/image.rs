//! What the models of pictures share: how their configurations tell the picture and the classes.

use serde_json::{Map, Value};

use super::config::{MAX_SIZE, Reader};

/// Largest side of a picture that a model takes.
const MAX_SIDE: u64 = 1 << 14;

/// Channels, height and width: `input`, or `num_channels` and `image_size`; by default RGB and a square.
pub(super) fn image_input(
    reader: &mut Reader,
    object: &Map<String, Value>,
    default: u64,
) -> [u64; 3] {
    if let Some(input) = reader.sizes(object, "input", 3..=3, 1..=MAX_SIDE)
        && let [channels, height, width] = input[..]
    {
        return [channels, height, width];
    }
    let channels = reader.size_or(object, "num_channels", 1..=MAX_SIDE, 3);
    let [height, width] = sides(reader, object, "image_size", default);
    [channels, height, width]
}

/// Height and width, from one number or a list of both.
pub(super) fn sides(
    reader: &mut Reader,
    object: &Map<String, Value>,
    key: &str,
    default: u64,
) -> [u64; 2] {
    match object.get(key) {
        Some(Value::Array(_)) => match reader.sizes(object, key, 2..=2, 1..=MAX_SIDE).as_deref() {
            Some([height, width]) => [*height, *width],
            _ => [default; 2],
        },
        _ => [reader.size_or(object, key, 1..=MAX_SIDE, default); 2],
    }
}

/// The number of classes: of `id2label`, else `num_labels`.
pub(super) fn image_labels(reader: &mut Reader, object: &Map<String, Value>, default: u64) -> u64 {
    match object.get("id2label").and_then(Value::as_object) {
        Some(labels) if !labels.is_empty() => labels.len() as u64,
        _ => reader.size_or(object, "num_labels", 1..=MAX_SIZE, default),
    }
}
