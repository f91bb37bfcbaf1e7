#!/usr/bin/env python3
"""Whole commands, timed against Python where Python can do the same; prints one Markdown table.

    cargo build --release
    python3 benches/commands.py --amphora target/release/amphora --fixtures ../shared/fixtures

Every figure is the median of interleaved runs (A B A B ...) of whole processes, in milliseconds, and a ratio
within this run. A Python counterpart appears only when its packages are installed in --python.
"""
import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUN_ONNXRUNTIME = """
import sys, numpy, onnxruntime
options = onnxruntime.SessionOptions(); options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=['CPUExecutionProvider'])
print(session.run(None, {'input': numpy.load(sys.argv[2])})[0][0])
"""

EXPORT_TORCH = """
import sys, torch
sys.path.insert(0, sys.argv[1])
from reference_models import MLPPolicy
model = MLPPolicy(); model.load_state_dict(torch.load(sys.argv[2], weights_only=True)); model.eval()
torch.onnx.export(model, torch.zeros(1, 3779), sys.argv[3], input_names=['input'], opset_version=14, dynamo=False,
    output_names=['swarm', 'candidates', 'minutes', 'iterations'], dynamic_axes={'input': {0: 'batch_size'}})
"""

VALIDATE_ONNXRUNTIME = """
import sys, numpy, onnx, onnxruntime
from safetensors.numpy import load_file
onnx.checker.check_model(onnx.load(sys.argv[1]))
vectors = load_file(sys.argv[2])
session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])
for output, value in zip(session.get_outputs(), session.run(None, {'input': vectors['input']})):
    assert abs(value - vectors[output.name]).max() < 1e-5
"""


EMBED_ONNXRUNTIME = """
import sys, numpy, onnxruntime
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[2]); tokenizer.enable_truncation(256); tokenizer.enable_padding()
encoded = tokenizer.encode_batch(sys.argv[3:])
ids, mask, kinds = (numpy.array([getattr(one, name) for one in encoded]) for name in ('ids', 'attention_mask', 'type_ids'))
session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])
[hidden] = session.run(None, {'input_ids': ids, 'attention_mask': mask, 'token_type_ids': kinds})
pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
print((pooled / numpy.linalg.norm(pooled, axis=1, keepdims=True))[0][:3])
"""


def minilm_rows(amphora, folder, scratch, environment, python, peer):
    """Export of the real all-MiniLM-L6-v2, and from the start of a process to the embeddings of texts."""
    store = scratch / "embeddings"
    packed = json.loads(subprocess.run(
        [amphora, "pack", "--model", str(folder), "--name", "minilm", "--golden-cases", "3", "--json", "--store", str(store)],
        env=environment, check=True, capture_output=True).stdout)
    bundle = packed["path"]
    subprocess.run([amphora, "verify", bundle, "--target", "onnx"], env=environment, check=True, capture_output=True)
    beside = scratch / "model"
    shutil.copytree(folder, beside)
    texts = ["The quick brown fox jumps over the lazy dog."] + [f"Sentence {n} of a batch, a little longer." for n in range(31)]
    rows = [
        ("export, MiniLM", [amphora, "export", str(beside), "-o", str(scratch / "minilm.onnx")], None, "", lambda: None),
        ("export --link, MiniLM", [amphora, "export", str(beside), "-o", str(beside / "linked.onnx"), "--link"], None, "",
         lambda: None),
    ]
    for count in (1, 32):
        given = texts[:count]
        flags = [word for text in given for word in ("--text", text)]
        theirs = python(EMBED_ONNXRUNTIME, Path(bundle) / "models/model.onnx", folder / "tokenizer.json", *given)
        for engine in ("rten", "ort"):
            ours = [amphora, "run", bundle, "--json", "--engine", engine, "--isolate", "never", *flags]
            if subprocess.run(ours, env=environment, capture_output=True).returncode == 0:
                rows.append((f"process start to {count} embedding{'s' * (count > 1)}, {engine}", ours,
                             theirs if peer else None, "onnxruntime and tokenizers in Python", lambda: None))
    return rows


def milliseconds(command, environment):
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    elapsed = (time.perf_counter() - start) * 1000
    if done.returncode != 0:
        sys.exit(f"{command} failed with {done.returncode}:\n{done.stdout.decode(errors='replace')}")
    return elapsed


def interleaved(rounds, ours, peer, environment, before=lambda: None):
    """Medians of both commands, run in turn; the first round is a warm-up."""
    samples = ([], [])
    for _ in range(rounds + 1):
        for place, command in zip(samples, (ours, peer)):
            if command:
                before()
                place.append(milliseconds(command, environment))
    return [statistics.median(place[1:]) if place else None for place in samples]


def importable(python, modules):
    return subprocess.run([python, "-c", f"import {modules}"], capture_output=True).returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--amphora", default="target/release/amphora")
    parser.add_argument("--fixtures", default="../shared/fixtures")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--minilm", type=Path, help="the directory of all-MiniLM-L6-v2 with its weights")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON instead of a table")
    arguments = parser.parse_args()

    amphora = str(Path(arguments.amphora).resolve())
    fixture = Path(arguments.fixtures).resolve() / "planner_mlp"
    scratch = Path(tempfile.mkdtemp(prefix="amphora-bench-"))
    store = scratch / "store"
    environment = dict(os.environ, AMPHORA_STORE=str(store), SOURCE_DATE_EPOCH="0")
    weights, config = str(fixture / "model.safetensors"), str(fixture / "config.json")
    pack = [amphora, "pack", "--model", weights, "--config", config, "--name", "bench", "--json"]

    def fresh_store():
        shutil.rmtree(store, ignore_errors=True)

    fresh_store()
    packed = json.loads(subprocess.run(pack, env=environment, check=True, capture_output=True).stdout)
    bundle = packed["path"] if os.path.isabs(packed["path"]) else str(Path.cwd() / packed["path"])
    kept = scratch / "kept"
    shutil.copytree(bundle, kept)
    model = scratch / "model.onnx"
    subprocess.run([amphora, "export", weights, "--config", config, "-o", str(model)], env=environment, check=True,
                   capture_output=True)
    one_row = scratch / "input.npy"
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3779), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    one_row.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(4 * 3779))

    torch = importable(arguments.python, "torch, onnx")
    runtime = importable(arguments.python, "onnxruntime, onnx, safetensors")
    python = lambda program, *rest: [arguments.python, "-c", program, *map(str, rest)]
    exported, beside = str(scratch / "exported.onnx"), str(scratch / "model.safetensors")
    shutil.copyfile(weights, beside)
    rows = [
        ("export, planner MLP", [amphora, "export", weights, "--config", config, "-o", exported],
         python(EXPORT_TORCH, fixture.parent, fixture / "model.pt", scratch / "torch.onnx") if torch else None,
         "torch.onnx.export", lambda: None),
        ("export --link, planner MLP", [amphora, "export", beside, "--config", config, "-o", exported, "--link"],
         None, "", lambda: None),
        ("pack (export, check, 100 golden cases, replay)", pack, None, "", fresh_store),
        ("verify (hash, check, replay 100 cases)", [amphora, "verify", str(kept)],
         python(VALIDATE_ONNXRUNTIME, fixture / "model.onnx", fixture / "vectors.safetensors") if runtime else None,
         "onnx.checker + onnxruntime, 64 cases", lambda: None),
        ("process start to first answer, bundle", [amphora, "run", str(kept), "--input", f"input={one_row}"],
         python(RUN_ONNXRUNTIME, model, one_row) if runtime else None, "onnxruntime in Python", lambda: None),
    ]
    if arguments.minilm:
        peer = importable(arguments.python, "onnxruntime, tokenizers")
        rows += minilm_rows(amphora, arguments.minilm.resolve(), scratch, environment, python, peer)
    table = []
    for name, ours, peer, peer_name, before in rows:
        mine, theirs = interleaved(arguments.rounds, ours, peer, environment, before)
        table.append({"work": name, "amphora_ms": mine, "peer_ms": theirs, "peer": peer_name})
    shutil.rmtree(scratch)

    if arguments.json:
        print(json.dumps({"machine": platform.machine(), "cores": os.cpu_count(), "rows": table}, indent=2))
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, median of {arguments.rounds} interleaved runs\n")
    print("| work | Amphora, ms | Python, ms | ratio |\n|---|---:|---:|---:|")
    for row in table:
        theirs, ratio = "", ""
        if row["peer_ms"] is not None:
            theirs, ratio = f"{row['peer_ms']:.0f} ({row['peer']})", f"{row['amphora_ms'] / row['peer_ms']:.3f}"
        print(f"| {row['work']} | {row['amphora_ms']:.1f} | {theirs} | {ratio} |")


if __name__ == "__main__":
    main()
