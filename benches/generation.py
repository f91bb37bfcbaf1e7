#!/usr/bin/env python3
"""Tokens a second of a language model, against Python on the same graphs; prints one Markdown table.

    cargo build --release
    python3 benches/generation.py --amphora target/release/amphora --model ../shared/fixtures/qwen3_tiny

The model directory is packed once. Every contestant reads the same number of tokens and writes greedily, on one
machine, in turn (A B A B ...); a figure is the median over the rounds of new tokens divided by the seconds from the
first token read to the last one written, without loading. The Python contestants run the bundle's own graphs:
`onnxruntime` once with the cache through numpy and once kept as OrtValues, `onnxruntime-genai` on the graph that
continues. One that is not installed in --python is left out, by name.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ONNXRUNTIME = """
import json, sys, time, numpy, onnxruntime
prefill, decode, prompt, count, kept = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5] == 'kept'
sessions = [onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider']) for path in (prefill, decode)]
names = [[value.name for value in session.get_inputs()] for session in sessions]
outputs = [value.name for value in sessions[0].get_outputs()]
value = onnxruntime.OrtValue.ortvalue_from_numpy if kept else (lambda array: array)
array = (lambda value: value.numpy()) if kept else (lambda value: value)
def step(place, ids, total, past):
    feeds = {'input_ids': ids, 'attention_mask': numpy.ones((1, total), numpy.int64),
             'position_ids': numpy.arange(total - ids.shape[1], total, dtype=numpy.int64)[None]}
    feeds = {name: value(feeds[name]) for name in names[place] if name in feeds} | past
    run = sessions[place].run_with_ort_values if kept else sessions[place].run
    answers = dict(zip(outputs, run(outputs, feeds)))
    best = int(array(answers.pop('logits'))[0, -1].argmax())
    return best, {name.replace('present', 'past'): found for name, found in answers.items()}
start = time.perf_counter()
token, past = step(0, numpy.arange(prompt, dtype=numpy.int64)[None] * 7919 % 1400, prompt, {})
for written in range(1, count):
    token, past = step(1, numpy.array([[token]], numpy.int64), prompt + written, past)
print(json.dumps(count / (time.perf_counter() - start)))
"""

GENAI = """
import json, pathlib, shutil, sys, tempfile, time, numpy, onnx, onnxruntime_genai
decode, prompt, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
graph = onnx.load(decode, load_external_data=False).graph
inputs = [value.name for value in graph.input]
keys = next(value for value in graph.input if value.name == 'past_key_0').type.tensor_type.shape.dim
logits = next(value for value in graph.output if value.name == 'logits').type.tensor_type.shape.dim
layers = sum(name.startswith('past_key_') for name in inputs)
folder = pathlib.Path(tempfile.mkdtemp())
for file in pathlib.Path(decode).parent.glob('*.onnx*'): shutil.copy(file, folder)
named = {name: name for name in ('input_ids', 'attention_mask', 'position_ids') if name in inputs}
decoder = {'session_options': {'provider_options': []}, 'filename': pathlib.Path(decode).name,
    'head_size': keys[3].dim_value, 'hidden_size': keys[1].dim_value * keys[3].dim_value,
    'num_attention_heads': keys[1].dim_value, 'num_key_value_heads': keys[1].dim_value, 'num_hidden_layers': layers,
    'inputs': named | {'past_key_names': 'past_key_%d', 'past_value_names': 'past_value_%d'},
    'outputs': {'logits': 'logits', 'present_key_names': 'present_key_%d', 'present_value_names': 'present_value_%d'}}
model = {'type': 'llama', 'bos_token_id': 0, 'eos_token_id': [], 'pad_token_id': 0, 'vocab_size': logits[2].dim_value,
    'context_length': prompt + count, 'decoder': decoder}
search = {'max_length': prompt + count, 'do_sample': False, 'past_present_share_buffer': False}
(folder / 'genai_config.json').write_text(json.dumps({'model': model, 'search': search}))
loaded = onnxruntime_genai.Model(str(folder))
parameters = onnxruntime_genai.GeneratorParams(loaded)
parameters.set_search_options(max_length=prompt + count, do_sample=False)
generator = onnxruntime_genai.Generator(loaded, parameters)
start = time.perf_counter()
generator.append_tokens((numpy.arange(prompt) * 7919 % 1400).astype(numpy.int32))
for _ in range(count): generator.generate_next_token()
print(json.dumps(count / (time.perf_counter() - start)))
shutil.rmtree(folder)
"""


def answer(command, environment):
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed with {done.returncode}:\n{done.stderr.decode(errors='replace')}")
    return json.loads(done.stdout)


def importable(python, module):
    return subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--amphora", default="target/release/amphora")
    parser.add_argument("--model", default="../shared/fixtures/qwen3_tiny", help="a directory that `amphora pack` takes")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--tokens", type=int, default=256, help="how many tokens are written")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON instead of a table")
    arguments = parser.parse_args()

    amphora = str(Path(arguments.amphora).resolve())
    with tempfile.TemporaryDirectory(prefix="amphora-bench-") as scratch:
        environment = dict(os.environ, AMPHORA_STORE=f"{scratch}/store", AMPHORA_HOME=f"{scratch}/home")
        packed = answer([amphora, "pack", "--model", arguments.model, "--name", "bench", "--json"], environment)
        models = Path(packed["path"]) / "models"
        if not models.is_absolute():
            models = Path.cwd() / models
        write = [amphora, "generate", "bench", "--json", "--prompt", "The quick brown fox jumps over the lazy dog. " * 4,
                 "--max-new-tokens", str(arguments.tokens), "--temperature", "0", "--isolate", "never"]
        length = answer(write, environment)["texts"][0]["prompt_tokens"]
        graphs = [str(models / "prefill.onnx"), str(models / "decode.onnx")]
        numbers = [str(length), str(arguments.tokens)]
        contestants = [("Amphora, rten", write, lambda found: found["tokens_per_second"])]
        runtime = importable(arguments.python, "numpy, onnxruntime")
        if runtime:
            contestants.append(("Amphora, ONNX Runtime", [*write, "--engine", "ort"], lambda found: found["tokens_per_second"]))
            for way in ("copied", "kept"):
                command = [arguments.python, "-c", ONNXRUNTIME, *graphs, *numbers, way]
                contestants.append((f"Python onnxruntime, cache {way}", command, float))
        if importable(arguments.python, "onnxruntime_genai, onnx"):
            contestants.append(("Python onnxruntime-genai", [arguments.python, "-c", GENAI, graphs[1], *numbers], float))
        figures = {name: [] for name, _, _ in contestants}
        for _ in range(arguments.rounds + 1):
            for name, command, figure in contestants:
                figures[name].append(figure(answer(command, environment)))
        medians = {name: statistics.median(found[1:]) for name, found in figures.items()}

    absent = [] if runtime else ["onnxruntime"]
    absent += [] if "Python onnxruntime-genai" in medians else ["onnxruntime-genai"]
    if arguments.json:
        print(json.dumps({"machine": platform.machine(), "cores": os.cpu_count(), "prompt_tokens": length,
                          "new_tokens": arguments.tokens, "tokens_per_second": medians, "absent": absent}, indent=2))
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, {length} tokens read, {arguments.tokens} written, median of "
          f"{arguments.rounds} interleaved runs\n")
    first = next(iter(medians.values()))
    print("| contestant | tokens a second | Amphora on rten, times that |\n|---|---:|---:|")
    for name, median in medians.items():
        print(f"| {name} | {median:.0f} | {first / median:.2f} |")
    for name in absent:
        print(f"\n{name} is not installed in {arguments.python}.")


if __name__ == "__main__":
    main()
