"""Writes the operator table of the installed Python package `onnx` to standard output.

usage: python generate.py > operators.tsv

One record a line, fields separated by tabs:

  onnx    VERSION                     the package the table was read from
  ir      NUMBER                      the newest IR version it knows
  domain  NAME MIN MAX                a domain and its operator-set versions ('ai.onnx' is the default one)
  types   NUMBER TYPE;TYPE            a set of types, named by its number below
  op      DOMAIN NAME SINCE FLAGS INPUTS_COUNT OUTPUTS_COUNT INPUTS OUTPUTS ATTRIBUTES CONSTRAINTS

FLAGS: d deprecated, u accepts undeclared attributes, - none.
Counts: MIN..MAX (MAX empty: unbounded) or the allowed numbers separated by commas.
INPUTS, OUTPUTS: NAME:TYPE separated by ';', followed by ? optional, * variadic, ~ variadic of mixed types.
ATTRIBUTES: NAME:KIND separated by ';', followed by ! when required.
CONSTRAINTS: NAME=SET separated by ';' where SET is the number of a `types` record.
"""

import sys

import onnx
from onnx import checker, defs, helper

Option = defs.OpSchema.FormalParameterOption
UNBOUNDED = 2147483647


def refusal(schema, inputs, outputs, attributes=()):
    node = helper.make_node(
        schema.name, [f"i{n}" for n in range(inputs)], [f"o{n}" for n in range(outputs)], domain=schema.domain
    )
    node.attribute.extend(attributes)
    context = checker.C.CheckerContext()
    context.ir_version = onnx.IR_VERSION
    context.opset_imports = {schema.domain: schema.since_version}
    try:
        checker.check_node(node, context)
    except checker.ValidationError as error:
        return str(error)
    return ""


def count(schema, lowest, highest, refused):
    if highest == UNBOUNDED:
        return f"{lowest}.."
    allowed = [n for n in range(lowest, highest + 1) if schema.deprecated or not refused(n)]
    if allowed == list(range(lowest, highest + 1)):
        return f"{lowest}..{highest}"
    return ",".join(map(str, allowed))


def formal(parameters):
    def suffix(parameter):
        if parameter.option == Option.Variadic:
            return "*" if parameter.is_homogeneous else "~"
        return "?" if parameter.option == Option.Optional else ""

    return ";".join(f"{p.name}:{p.type_str}{suffix(p)}" for p in parameters)


def main():
    schemas = sorted(
        defs.get_all_schemas_with_history(), key=lambda s: (s.domain, s.name, s.since_version)
    )
    print(f"onnx\t{onnx.__version__}")
    print(f"ir\t{onnx.IR_VERSION}")
    for domain, (lowest, highest) in sorted(defs.C.schema_version_map().items()):
        print(f"domain\t{domain or 'ai.onnx'}\t{lowest}\t{highest}")

    type_sets = {}
    for schema in schemas:
        for constraint in schema.type_constraints:
            key = ";".join(sorted(t.replace(", ", ",") for t in constraint.allowed_type_strs))
            type_sets.setdefault(key, len(type_sets))
    for types, number in type_sets.items():
        print(f"types\t{number}\t{types}")

    unchecked = helper.make_attribute("amphora_undeclared", 1)
    for schema in schemas:
        least = (schema.min_input, schema.min_output)
        flags = "d" if schema.deprecated else ""
        if not schema.deprecated and "Unrecognized attribute" not in refusal(schema, *least, [unchecked]):
            flags += "u"
        inputs = count(
            schema, schema.min_input, schema.max_input,
            lambda n: "not in allowed input sizes" in refusal(schema, n, schema.min_output),
        )
        outputs = count(
            schema, schema.min_output, schema.max_output,
            lambda n: "not in allowed output sizes" in refusal(schema, schema.min_input, n),
        )
        attributes = ";".join(
            f"{a.name}:{a.type.name.lower()}{'!' if a.required else ''}"
            for a in sorted(schema.attributes.values(), key=lambda a: a.name)
        )
        constraints = ";".join(
            f"{c.type_param_str}="
            + str(type_sets[";".join(sorted(t.replace(", ", ",") for t in c.allowed_type_strs))])
            for c in schema.type_constraints
        )
        print(
            "op", schema.domain or "ai.onnx", schema.name, schema.since_version, flags or "-", inputs, outputs,
            formal(schema.inputs).replace(", ", ","), formal(schema.outputs).replace(", ", ","),
            attributes, constraints, sep="\t",
        )


if __name__ == "__main__":
    sys.exit(main())
