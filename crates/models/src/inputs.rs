//! Inputs checked against the ports of an architecture, all faults at once.

use std::collections::BTreeMap;

use amphora_checkpoint::architecture::{Axis, Port, Values};
use amphora_error::{Error, Result, quoted};

use crate::{Array, Data};

/// Refuses missing and unknown names, wrong element types, ranks and sizes, one symbolic dimension
/// bound to two sizes, and values that the port does not take.
pub(crate) fn check(ports: &[Port], inputs: &BTreeMap<String, Array>) -> Result<()> {
    let mut faults = Vec::new();
    let mut bound = BTreeMap::new();
    for port in ports {
        match inputs.get(&port.name) {
            None => faults.push(format!("{} is missing", quoted(&port.name))),
            Some(array) => faults.extend(
                port_faults(port, array, &mut bound)
                    .into_iter()
                    .map(|fault| format!("{}: {fault}", quoted(&port.name))),
            ),
        }
    }
    let bound = |name: &str| bound.get(name);
    if let (Some(past), Some(total)) = (bound(Axis::PAST), bound(Axis::TOTAL))
        && let Some(now) = bound(Axis::SEQUENCE)
        && past + now != *total
    {
        faults.push(format!(
            "the mask covers {total} tokens, not the {past} before and {now} of this call"
        ));
    }
    let known = |name: &String| ports.iter().any(|port| port.name == *name);
    let extra = inputs.keys().filter(|name| !known(name));
    faults.extend(extra.map(|name| format!("{} is not an input of the model", quoted(name))));
    if faults.is_empty() {
        return Ok(());
    }
    Err(
        Error::incompatible("reference-inputs", "the model cannot take these inputs")
            .faults(faults),
    )
}

fn port_faults(port: &Port, array: &Array, bound: &mut BTreeMap<&'static str, u64>) -> Vec<String> {
    let shape = array.shape();
    if shape.len() != port.shape.len() {
        return vec![format!(
            "expected {} dimensions, found {}",
            port.shape.len(),
            shape.len()
        )];
    }
    let mut faults = Vec::new();
    for (axis, (expected, &found)) in port.shape.iter().zip(shape).enumerate() {
        let found = found as u64;
        match expected {
            Axis::Fixed(size) if found != *size => {
                faults.push(format!("dimension {axis}: expected {size}, found {found}"));
            }
            Axis::Fixed(_) => {}
            Axis::Dynamic { name, max } => {
                let other = *bound.entry(name).or_insert(found);
                if found == 0 && *name != Axis::PAST {
                    faults.push(format!("dimension {axis} ({name}) is empty"));
                } else if let Some(max) = max.filter(|max| found > *max) {
                    faults.push(format!(
                        "dimension {axis} ({name}): expected at most {max}, found {found}"
                    ));
                } else if other != found {
                    faults.push(format!(
                        "dimension {axis} ({name}): expected {other} as elsewhere, found {found}"
                    ));
                }
            }
        }
    }
    faults.extend(value_fault(port.values, array.data()));
    faults
}

fn value_fault(values: Values, data: &Data) -> Option<String> {
    let ids = match (values, data) {
        (Values::Real, Data::F64(_)) => return None,
        (Values::Real, Data::I64(_)) => return Some("expected floating-point numbers".to_owned()),
        (_, Data::F64(_)) => return Some("expected integers".to_owned()),
        (_, Data::I64(ids)) => ids,
    };
    let below = match values {
        Values::Index { below } => i64::try_from(below).unwrap_or(i64::MAX),
        Values::Mask | Values::Real => 2,
    };
    let (place, id) = ids
        .iter()
        .enumerate()
        .find(|(_, id)| !(0..below).contains(*id))?;
    Some(format!(
        "element {place}: expected 0 to {}, found {id}",
        below - 1
    ))
}
