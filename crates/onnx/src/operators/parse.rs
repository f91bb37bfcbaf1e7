//! Reads the table. `generate.py` describes the format; a test proves that no record is skipped.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use super::{Attribute, Counts, Operator, Parameter, Presence, Signature, Table, canonical_domain};
use crate::proto::AttributeType;

type TypeSets = HashMap<&'static str, &'static [&'static str]>;

pub(super) fn table(text: &'static str) -> Table {
    let mut table = Table {
        source: "",
        newest_ir: 0,
        domains: Vec::new(),
        operators: Vec::new(),
        index: HashMap::new(),
    };
    let mut type_sets = TypeSets::new();
    for line in text.lines() {
        let mut fields = line.split('\t');
        match fields.next() {
            Some("onnx") => table.source = fields.next().unwrap_or_default(),
            Some("ir") => table.newest_ir = number(fields.next()).unwrap_or_default(),
            Some("domain") => table.domains.extend(domain(&mut fields)),
            Some("types") => type_sets.extend(type_set(&mut fields)),
            Some("op") => table.operators.extend(operator(&mut fields, &type_sets)),
            _ => {}
        }
    }
    for (position, operator) in table.operators.iter().enumerate() {
        table
            .index
            .entry((operator.domain, operator.name))
            .and_modify(|range| *range = *range.start()..=position)
            .or_insert(position..=position);
    }
    table
}

type Fields<'a> = dyn Iterator<Item = &'static str> + 'a;

fn number<N: std::str::FromStr>(field: Option<&str>) -> Option<N> {
    field?.parse().ok()
}

fn domain(fields: &mut Fields<'_>) -> Option<(&'static str, RangeInclusive<u64>)> {
    let name = canonical_domain(fields.next()?);
    Some((name, number(fields.next())?..=number(fields.next())?))
}

fn type_set(fields: &mut Fields<'_>) -> Option<(&'static str, &'static [&'static str])> {
    let name = fields.next()?;
    Some((name, Vec::leak(list(fields.next()?).collect())))
}

fn operator(fields: &mut Fields<'_>, type_sets: &TypeSets) -> Option<Operator> {
    let domain = canonical_domain(fields.next()?);
    let name = fields.next()?;
    let since_version = number(fields.next())?;
    let flags = fields.next()?;
    let (input_counts, output_counts) = (counts(fields.next()?)?, counts(fields.next()?)?);
    let (inputs, outputs) = (fields.next()?, fields.next()?);
    let attributes: Option<Vec<Attribute>> = list(fields.next()?).map(attribute).collect();
    let constraints: Option<TypeSets> = list(fields.next()?)
        .map(|text| {
            let (variable, set) = text.split_once('=')?;
            Some((variable, *type_sets.get(set)?))
        })
        .collect();
    let constraints = constraints?;
    Some(Operator {
        domain,
        name,
        since_version,
        deprecated: flags.contains('d'),
        undeclared_attributes: flags.contains('u'),
        inputs: signature(inputs, input_counts, &constraints)?,
        outputs: signature(outputs, output_counts, &constraints)?,
        attributes: attributes?,
    })
}

fn list(field: &'static str) -> impl Iterator<Item = &'static str> {
    field.split(';').filter(|item| !item.is_empty())
}

fn counts(field: &str) -> Option<Counts> {
    if let Some((least, most)) = field.split_once("..") {
        let most = if most.is_empty() {
            None
        } else {
            Some(most.parse().ok()?)
        };
        return Some(Counts::Between(least.parse().ok()?, most));
    }
    let allowed: Result<Vec<usize>, _> = field.split(',').map(str::parse).collect();
    allowed.ok().map(Counts::OneOf)
}

fn signature(field: &'static str, counts: Counts, constraints: &TypeSets) -> Option<Signature> {
    let parameters: Option<Vec<Parameter>> = list(field)
        .map(|text| parameter(text, constraints))
        .collect();
    Some(Signature {
        parameters: parameters?,
        counts,
    })
}

fn parameter(text: &'static str, constraints: &TypeSets) -> Option<Parameter> {
    let (name, type_variable) = text.split_once(':')?;
    let (type_variable, presence) = match type_variable.as_bytes().last()? {
        b'?' => (type_variable.strip_suffix('?')?, Presence::Optional),
        b'*' => (type_variable.strip_suffix('*')?, Presence::Variadic),
        b'~' => (type_variable.strip_suffix('~')?, Presence::VariadicMixed),
        _ => (type_variable, Presence::Single),
    };
    let types = match constraints.get(type_variable) {
        Some(types) => *types,
        None => Vec::leak(vec![type_variable]),
    };
    Some(Parameter {
        name,
        type_variable,
        types,
        presence,
    })
}

fn attribute(text: &'static str) -> Option<Attribute> {
    let (name, kind) = text.split_once(':')?;
    let (kind, required) = match kind.strip_suffix('!') {
        Some(kind) => (kind, true),
        None => (kind, false),
    };
    let kind = match kind {
        "float" => AttributeType::Float,
        "int" => AttributeType::Int,
        "string" => AttributeType::String,
        "tensor" => AttributeType::Tensor,
        "graph" => AttributeType::Graph,
        "floats" => AttributeType::Floats,
        "ints" => AttributeType::Ints,
        "strings" => AttributeType::Strings,
        "tensors" => AttributeType::Tensors,
        "graphs" => AttributeType::Graphs,
        "sparse_tensor" => AttributeType::SparseTensor,
        "sparse_tensors" => AttributeType::SparseTensors,
        "type_proto" => AttributeType::TypeProto,
        "type_protos" => AttributeType::TypeProtos,
        _ => return None,
    };
    Some(Attribute {
        name,
        kind,
        required,
    })
}
