"""Runs exported models on ONNX Runtime and prints the largest difference to the recorded outputs.

Arguments: how many recorded rows to run, then pairs of a model and the folder of its fixture. One
JSON line for each pair.
"""

import json
import sys

import numpy as np
import onnx
import onnxruntime


def calls(vectors):
    """Inputs of each run, with the rows of the vectors that they hold."""
    if "lengths" not in vectors:
        yield {"input": vectors["input"]}, slice(None)
        return
    ids = vectors["input_ids"].astype(np.int64)
    mask = vectors["attention_mask"].astype(np.int64)
    lengths = vectors["lengths"]
    rows = [slice(row, row + 1) for row in range(4)] + [slice(4, None)]
    for row in rows:
        length = int(lengths[row].max())
        yield {"input_ids": ids[row, :length], "attention_mask": mask[row, :length]}, row
    row = slice(0, 2)
    length = int(lengths[row].max()) + 5
    yield {"input_ids": ids[row, :length], "attention_mask": mask[row, :length]}, row


def largest(found, expected):
    return float(np.abs(found.astype(np.float64) - expected.astype(np.float64)).max())


options = onnxruntime.SessionOptions()
options.log_severity_level = 3
# Tests share their cores.
options.intra_op_num_threads = 2
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
count = int(sys.argv[1])
for model, fixture in zip(sys.argv[2::2], sys.argv[3::2]):
    onnx.checker.check_model(model, full_check=True)
    vectors = dict(np.load(fixture + "/vectors.npz"))
    vectors = {name: values[:count] for name, values in vectors.items()}
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    differences = {}
    for inputs, rows in calls(vectors):
        names = [value.name for value in session.get_inputs()]
        if list(inputs) == ["input"]:
            inputs = {names[0]: inputs["input"]}
        results = session.run(None, inputs)
        for output, result in zip(session.get_outputs(), results):
            expected = vectors[output.name][rows]
            if output.name == "behavioral_codes":
                clear = vectors["rounding_margin"][rows] > 1e-4
                result, expected = result[clear], expected[clear]
            assert result.shape == expected.shape, (output.name, result.shape, expected.shape)
            difference = largest(result, expected)
            differences[output.name] = max(differences.get(output.name, 0.0), difference)
    print(json.dumps({"model": model, "differences": differences}))
