"""Writes the tables of operators that each engine runs: rten.tsv, onnxruntime.tsv, tract.tsv.

    python generate.py rten PATH_TO_THE_SOURCE_OF_THE_CRATE_RTEN
    python generate.py onnxruntime
    python generate.py tract PATH_TO_THE_SOURCE_OF_THE_CRATE_TRACT_ONNX

rten and tract are read from their registration code. ONNX Runtime is asked: the Python packages
`onnxruntime` (its list of CPU kernels) and `onnx` (operators with a function body, which ONNX Runtime
expands when it has no kernel) must be installed.

Columns: domain, operator, operator-set versions in which it runs (`7-` is 7 and later).
"""

import pathlib
import re
import sys

FOREVER = 1 << 30


def write(engine, version, source, ranges):
    lines = [
        f"# engine: {engine}",
        f"# version: {version}",
        f"# source: {source}",
        "# columns: domain, operator, operator-set versions",
    ]
    for (domain, name), spans in sorted(ranges.items()):
        merged = []
        for first, last in sorted(spans):
            if merged and first <= merged[-1][1] + 1:
                merged[-1][1] = max(merged[-1][1], last)
            else:
                merged.append([first, last])
        text = ",".join(f"{a}-" if b >= FOREVER else f"{a}-{b}" for a, b in merged)
        lines.append(f"{domain or 'ai.onnx'}\t{name}\t{text}")
    path = pathlib.Path(__file__).parent / f"{engine}.tsv"
    path.write_text("\n".join(lines) + "\n")
    print(path, len(ranges), "operators")


def crate_version(root):
    return re.search(r'^version = "([^"]+)"', (root / "Cargo.toml").read_text(), re.M)[1]


def rten(root):
    root = pathlib.Path(root)
    text = (root / "src/op_registry/onnx_registry.rs").read_text()
    text = text[: text.index("#[cfg(test)]\nmod tests")] if "#[cfg(test)]\nmod tests" in text else text
    ranges = {("", "Constant"): [(1, FOREVER)]}  # read by the loader, not by the registry
    body = text[text.index("// ai.onnx ops.") :]
    calls = re.findall(r"register_op!\(\s*([^)]*?)\s*\);", body)
    for call in calls:
        parts = [part.strip() for part in call.split(",") if part.strip() and "feature" not in part]
        if "$" in call:
            continue
        domain = ""
        if parts[0].startswith('"') and "." in parts[0]:
            domain = parts.pop(0).strip('"')
        name = parts[0].strip('"')
        ranges[(domain.replace("ai.onnx", ""), name)] = [(1, FOREVER)]
    for name, version in re.findall(r'require_min_opset\("(\w+)", (\d+)\)', text):
        ranges[("", name)] = [(int(version), FOREVER)]
    write("rten", crate_version(root), "src/op_registry/onnx_registry.rs", ranges)


def onnxruntime():
    import onnx
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    versions = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        versions.setdefault((schema.domain, schema.name), []).append(schema)
    ranges = {("", "Constant"): [(1, FOREVER)]}  # becomes an initializer before kernels are chosen
    for kernel in state.get_all_opkernel_def():
        # An internal layout, never found in files.
        if kernel.provider != "CPUExecutionProvider" or kernel.domain == "com.microsoft.nchwc":
            continue
        key = (kernel.domain, kernel.op_name)
        first, last = kernel.version_range
        if last > FOREVER:
            # A kernel without an end serves the operator until its next version.
            later = [s.since_version for s in versions.get(key, []) if s.since_version > first]
            last = min(later) - 1 if later else FOREVER
        ranges.setdefault(key, []).append((first, last))
    for key, schemas in versions.items():
        if key[0].startswith("ai.onnx.preview"):
            continue
        schemas.sort(key=lambda schema: schema.since_version)
        ends = [schema.since_version - 1 for schema in schemas[1:]] + [FOREVER]
        for schema, end in zip(schemas, ends):
            if schema.has_function or schema.has_context_dependent_function:
                ranges.setdefault(key, []).append((schema.since_version, end))
    source = f"CPU kernels, and function bodies of onnx {onnx.__version__}"
    write("onnxruntime", onnxruntime.__version__, source, ranges)


def tract(root):
    root = pathlib.Path(root)
    ranges = {}
    for path in sorted((root / "src/ops").rglob("*.rs")):
        text = path.read_text()
        for name in re.findall(r'reg\.insert\(\s*"(\w+)"', text):
            ranges[("*", name)] = [(1, FOREVER)]  # looked up by name, whatever the domain
    write("tract", crate_version(root), "src/ops", ranges)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["rten", root]:
            rten(root)
        case ["onnxruntime"]:
            onnxruntime()
        case ["tract", root]:
            tract(root)
        case _:
            sys.exit(__doc__)
