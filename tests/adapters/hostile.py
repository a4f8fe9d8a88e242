"""Adapter folders that are truncated or made to do harm, each with the words by which it must be refused.

Run as a program, it checks each of them under an audit hook and prints what the interpreter was asked to do meanwhile.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from adapters.checks import check_folder
from adapters.errors import AdapterError
from tests.adapters.samples import (
    BASE,
    CONFIG,
    HIDDEN,
    INNER,
    RANK,
    TARGETS,
    adapter,
    half,
    safetensors,
    tensors,
    with_header,
)

TENSORS = "adapter_model.safetensors"
QUERY, DOWN = "self_attn.q_proj", "mlp.down_proj"
QUERY_A, DOWN_A = half(QUERY, "A"), half(DOWN, "A")
Damage = Callable[[Path], None]


class Trap:
    """A pickle that leaves a file behind when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(Path(__file__).parent / "pwned"),)


def file(name: str, content: bytes) -> Damage:
    return lambda folder: put(folder / name, content)


def put(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def config(**changes: Any) -> Damage:
    return lambda folder: put(folder / "adapter_config.json", json.dumps({**CONFIG, **changes}).encode())


def raw_config(content: bytes) -> Damage:
    return file("adapter_config.json", content)


def made(**changes: Any) -> Damage:
    return lambda folder: put(folder / TENSORS, safetensors({**tensors(), **changes}))


def without(name: str) -> Damage:
    return lambda folder: put(folder / TENSORS, safetensors({k: v for k, v in tensors().items() if k != name}))


def cut(keep: Callable[[bytes], bytes]) -> Damage:
    return lambda folder: put(folder / TENSORS, keep((folder / TENSORS).read_bytes()))


def header(change: Callable[[dict[str, Any]], None]) -> Damage:
    """Alter the header of a good file, and keep its data."""

    def damage(folder: Path) -> None:
        raw = (folder / TENSORS).read_bytes()
        length = int.from_bytes(raw[:8], "little")
        said = json.loads(raw[8 : 8 + length])
        change(said)
        put(folder / TENSORS, with_header(json.dumps(said).encode(), raw[8 + length :]))

    return damage


def described(**changes: Any) -> Damage:
    return header(lambda said: said[QUERY_A].update(changes))


def move(folder: Path, name: str, link: Callable[[Path, Path], None]) -> None:
    elsewhere = folder.parent / f"{folder.name}-elsewhere"
    (folder / name).rename(elsewhere)
    link(elsewhere, folder / name)


def gone(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def instead(make: Callable[[Path], object]) -> Damage:
    def damage(folder: Path) -> None:
        (folder / TENSORS).unlink()
        make(folder / TENSORS)

    return damage


def unix_socket(path: Path) -> None:
    where = Path.cwd()
    os.chdir(path.parent)  # the address of a socket may have 107 bytes
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(path.name)
    os.chdir(where)


def matrix(rows: int, columns: int, value: float = 0.0, kind: Any = np.float32) -> Any:
    return np.full((rows, columns), value, kind)


DEEP = b"[" * 100_000
DOUBLE = b'{"a": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}, '
UNPICKLED = pickle.dumps(Trap())
FILES: dict[str, tuple[Damage, str]] = {
    "pickled weights": (file("adapter_model.bin", UNPICKLED), "pickle"),
    "pickled training arguments": (file("training_args.bin", UNPICKLED), "pickle"),
    "pickled optimizer": (file("optimizer.pt", UNPICKLED), "pickle"),
    "pickle in capitals": (file("x.PKL", UNPICKLED), "pickle"),
    "checkpoint": (file("model.ckpt", UNPICKLED), "pickle"),
    "a pickle called safetensors": (file(TENSORS, UNPICKLED), "whole safetensors"),
    "a zip called safetensors": (file(TENSORS, b"PK\3\4" + bytes(200)), "whole safetensors"),
    "a module": (file("modeling_evil.py", b"import os; os.mkdir('pwned')"), "modeling_evil.py"),
    "a package": (lambda folder: (folder / "evil").mkdir(), "evil"),
    "a shared library": (file("evil.so", b"\x7fELF"), "evil.so"),
    "a site hook": (file("sitecustomize.pth", b"import os"), "pickle"),
    "a path in a name": (file("..\\adapter_config.json", b"{}"), "no adapter needs"),
    "an invisible letter in a name": (file("adapter_config\u200b.json", b"{}"), "u200b"),
    "a reversed name": (file("card\u202enosj.", b"{}"), "u202e"),
    "a new line in a name": (file("card.json\n", b"{}"), "no adapter needs"),
    "a linked tensor file": (lambda folder: move(folder, TENSORS, lambda a, b: b.symlink_to(a)), "link"),
    "a linked configuration": (
        lambda folder: move(folder, "adapter_config.json", lambda a, b: b.symlink_to(a)),
        "link",
    ),
    "a dangling link": (lambda folder: (folder / "README.md").symlink_to("/nowhere"), "link"),
    "a link to a device": (instead(lambda path: path.symlink_to("/dev/zero")), "link"),
    "a hard link": (lambda folder: move(folder, TENSORS, lambda a, b: b.hardlink_to(a)), "hard link"),
    "a pipe": (instead(os.mkfifo), "device"),
    "a socket": (instead(unix_socket), "device"),
    "a folder called safetensors": (instead(Path.mkdir), "folder"),
    "terabytes without content": (lambda folder: os.truncate(folder / TENSORS, 1 << 42), "refused unread"),
    "a huge configuration": (raw_config(b" " * 400_000), "refused unread"),
    "no configuration": (gone("adapter_config.json"), "holds no adapter_config.json"),
    "no tensors": (gone(TENSORS), "holds no adapter_model.safetensors"),
}
HEADERS: dict[str, tuple[Damage, str]] = {
    "an empty file": (file(TENSORS, b""), "truncated"),
    "cut in the length": (cut(lambda raw: raw[:5]), "truncated"),
    "cut in the header": (cut(lambda raw: raw[:100]), "truncated"),
    "cut in the data": (cut(lambda raw: raw[:-1]), "tensors end at"),
    "cut to the header": (cut(lambda raw: raw[: 8 + int.from_bytes(raw[:8], "little")]), "tensors end at"),
    "a byte too many": (cut(lambda raw: raw + b"\0"), "tensors end at"),
    "a second file behind it": (cut(lambda raw: raw + raw), "tensors end at"),
    "a length beyond counting": (cut(lambda raw: b"\xff" * 8 + raw[8:]), "truncated"),
    "a header of megabytes": (file(TENSORS, with_header(b"{" + b" " * 5_000_000, b"")), "refused unread"),
    "no JSON": (file(TENSORS, with_header(b"{]", b"")), "trusted"),
    "no UTF-8": (file(TENSORS, with_header(b'{"\xff": 1}', b"")), "trusted"),
    "UTF-16": (file(TENSORS, with_header('{"a": 1}'.encode("utf-16"), b"")), "brace"),
    "a list": (file(TENSORS, with_header(b"[]", b"")), "brace"),
    "something before the brace": (file(TENSORS, with_header(b" {}", b"")), "brace"),
    "no end of brackets": (file(TENSORS, with_header(b'{"a": ' + DEEP, b"")), "nested"),
    "brackets hidden by quotes": (file(TENSORS, with_header(b'{"\\"": ' + DEEP, b"")), "nested"),
    "a tensor twice": (file(TENSORS, with_header(DOUBLE + DOUBLE[1:-2] + b"}", bytes(4))), "twice"),
    "a field twice": (
        file(TENSORS, with_header(b'{"a": {"dtype": "F32", "dtype": "F16", "shape": [1, 1]}}', bytes(4))),
        "twice",
    ),
    "a number that is none": (file(TENSORS, with_header(b'{"a": NaN}', b"")), "NaN"),
    "a number of 5000 digits": (file(TENSORS, with_header(b'{"a": ' + b"9" * 5000 + b"}", b"")), "trusted"),
    "half a character": (file(TENSORS, with_header(b'{"\\ud800": 1}', b"")), "control"),
    "nothing in it": (file(TENSORS, with_header(b"{}", b"")), "no tensors"),
    "metadata alone": (file(TENSORS, with_header(b'{"__metadata__": {"format": "pt"}}', b"")), "no tensors"),
    "metadata that is no text": (header(lambda said: said.update(__metadata__={"a": 1})), "strings"),
    "metadata that is a list": (header(lambda said: said.update(__metadata__=["a"])), "strings"),
    "an overlap": (header(lambda said: said[DOWN_A].update(data_offsets=said[QUERY_A]["data_offsets"])), "bytes"),
    "an overlap of equal sizes": (
        header(lambda said: said[half(QUERY, "B")].update(data_offsets=said[QUERY_A]["data_offsets"])),
        "overlap",
    ),
    "a gap": (described(data_offsets=[1 << 20, (1 << 20) + 512]), "gap"),
    "an end before the beginning": (described(data_offsets=[512, 0]), "not what"),
    "an end behind the file": (described(data_offsets=[0, 1 << 40]), "not what"),
    "a negative place": (described(data_offsets=[-512, 0]), "no place"),
    "half a byte": (described(data_offsets=[0.5, 512.5]), "no place"),
    "three offsets": (described(data_offsets=[0, 1, 2]), "no place"),
    "true as a place": (described(data_offsets=[False, True]), "no place"),
    "whole numbers": (described(dtype="I32"), "only F32"),
    "double precision": (described(dtype="F64"), "only F32"),
    "8-bit floats": (described(dtype="F8_E4M3"), "only F32"),
    "a type that is a list": (described(dtype=["F32"]), "only F32"),
    "one dimension": (described(shape=[RANK * HIDDEN]), "no matrix"),
    "three dimensions": (described(shape=[RANK, HIDDEN, 1]), "no matrix"),
    "a shape beyond counting": (described(shape=[1 << 40, 1 << 40]), "no matrix"),
    "a shape whose bytes overflow": (described(shape=[(1 << 32) - 1, (1 << 32) - 1]), "not what"),
    "no rows": (described(shape=[0, HIDDEN], data_offsets=[0, 0]), "overlap or a gap"),
    "a shape in words": (described(shape="4x32"), "no matrix"),
    "a field too many": (described(url="http://evil"), "not described by"),
    "a name of kilobytes": (header(lambda said: said.update({"x" * 5000: said.pop(QUERY_A)})), "characters"),
}
FITS: dict[str, tuple[Damage, str]] = {
    "a module of its own": (made(**{half("self_attn.evil", "A"): matrix(RANK, HIDDEN)}), "adapts nothing"),
    "a layer too many": (made(**{half(QUERY, "A", 7): matrix(RANK, HIDDEN)}), "adapts nothing"),
    "embeddings": (
        made(**{"base_model.model.model.embed_tokens.lora_embedding_A": matrix(RANK, HIDDEN)}),
        "adapts nothing",
    ),
    "a whole layer": (made(**{"base_model.model.lm_head.weight": matrix(RANK, HIDDEN)}), "adapts nothing"),
    "a path for a name": (made(**{"../../etc/passwd": matrix(RANK, HIDDEN)}), "adapts nothing"),
    "a magnitude, as DoRA has": (
        made(**{half(QUERY, "A").replace("lora_A", "lora_magnitude_vector"): matrix(1, HIDDEN)}),
        "adapts nothing",
    ),
    "a lonely half": (without(QUERY_A), "rank 4"),
    "a module missing": (lambda folder: without_module(folder), "disagree"),
    "a module that is not targeted": (config(target_modules=[t for t in TARGETS if t != "q_proj"]), "disagree"),
    "a target that is not there": (config(target_modules=[*TARGETS, "c_attn"]), "no module 'c_attn'"),
    "another base model": (made(**{half(QUERY, "B"): matrix(HIDDEN * 2, RANK)}), "another model"),
    "transposed": (made(**{DOWN_A: matrix(INNER, RANK)}), "another model"),
    "another rank than it says": (config(r=8), "rank 8"),
    "not a number": (made(**{DOWN_A: matrix(RANK, INNER, np.nan)}), "NaN"),
    "infinite": (made(**{DOWN_A: matrix(RANK, INNER, -np.inf)}), "NaN"),
    "infinite in half precision": (made(**{DOWN_A: matrix(RANK, INNER, np.inf, np.float16)}), "NaN"),
    "not a number in bfloat16": (made(**{DOWN_A: matrix(RANK, INNER, 0x7FC0, np.uint16)}), "NaN"),
}
CONFIGS: dict[str, tuple[Damage, str]] = {
    "cut": (raw_config(json.dumps(CONFIG).encode()[:-1]), "trusted"),
    "no object": (raw_config(b"[]"), "no object"),
    "nested": (raw_config(b'{"peft_type": ' + DEEP), "nested"),
    "quotes without end": (raw_config(b'"' + b'\\"' * 100_000 + b"\\"), "trusted"),
    "a key twice": (raw_config(b'{"peft_type": "LORA", "r": 4, "r": 400}'), "twice"),
    "a byte order mark": (raw_config(b"\xef\xbb\xbf{}"), "trusted"),
    "text that a terminal obeys": (config(revision="\x1b]0;evil\x07"), "control"),
    "text that runs backwards": (config(peft_version="\u202e1.0"), "control"),
    "another method": (config(peft_type="IA3"), "IA3"),
    "no method": (config(peft_type=None), "LORA"),
    "another task": (config(task_type="SEQ_CLS"), "SEQ_CLS"),
    "auto_mapping": (config(auto_mapping={"base_model_class": "E", "parent_library": "evil"}), "auto_mapping"),
    "auto_map": (config(auto_map={"AutoModel": "evil.Evil"}), "auto_map"),
    "custom modules": (config(_custom_modules={"q_proj": "evil"}), "_custom_modules"),
    "runtime config": (config(runtime_config={"ephemeral_gpu_offload": True}), "runtime_config"),
    "a module to import": (config(megatron_core="evil"), "megatron_core"),
    "megatron": (config(megatron_config={"x": 1}), "megatron_config"),
    "a cache file": (config(corda_config={"cache_file": "x.pt"}), "corda_config"),
    "loftq": (config(loftq_config={"bits": 4}), "loftq_config"),
    "an absolute path": (config(base_model_name_or_path="/etc"), "set it to null"),
    "a path upwards": (config(base_model_name_or_path="../evil"), "set it to null"),
    "a path from home": (config(base_model_name_or_path="~/evil"), "set it to null"),
    "a path of Windows": (config(base_model_name_or_path="C:\\evil"), "set it to null"),
    "an address": (config(base_model_name_or_path="https://evil.example/m"), "set it to null"),
    "a revision that is a path": (config(revision="refs/../../x"), "revision"),
    "a pattern for modules": (config(target_modules="(a+)+$"), "pattern"),
    "modules by path": (config(target_modules=["../q_proj"]), "target_modules"),
    "modules without end": (config(target_modules=["q_proj"] * 1000), "target_modules"),
    "no modules": (config(target_modules=[]), "target_modules"),
    "rank 0": (config(r=0), "rank must be"),
    "rank 257": (config(r=257), "rank must be"),
    "rank true": (config(r=True), "rank must be"),
    "rank 4.0": (config(r=4.0), "rank must be"),
    "no rank": (raw_config(b'{"peft_type": "LORA", "lora_alpha": 1, "target_modules": ["q_proj"]}'), "not say r"),
    "alpha that is none": (raw_config(b'{"peft_type": "LORA", "lora_alpha": NaN}'), "NaN"),
    "alpha beyond counting": (raw_config(b'{"peft_type": "LORA", "lora_alpha": 1e999}'), "counted"),
    "alpha below nothing": (config(lora_alpha=-8), "lora_alpha"),
    "alpha in words": (config(lora_alpha="8"), "lora_alpha"),
    "DoRA": (config(use_dora=True), "DoRA"),
    "QALoRA": (config(use_qalora=True), "QALoRA"),
    "a rank per module": (config(rank_pattern={"q_proj": 8}), "rank per module"),
    "a strength per module": (config(alpha_pattern={"(a+)+$": 8}), "strength per module"),
    "whole layers": (config(modules_to_save=["lm_head"]), "trained whole"),
    "tokens": (config(trainable_token_indices=[1]), "embeddings"),
    "copied layers": (config(layer_replication=[[0, 2]]), "copied layers"),
    "parameters": (config(target_parameters=["x"]), "parameters"),
    "excluded modules": (config(exclude_modules="(a+)+$"), "excluded modules"),
    "some layers": (config(layers_to_transform=[0]), "some layers"),
    "biases": (config(bias="all"), "bias"),
    "biases of its own": (config(lora_bias=True), "biases"),
    "another start": (config(init_lora_weights="pissa"), "init_lora_weights"),
    "something new": (config(something_new={"x": 1}), "something_new"),
    "tokens that are none": (config(alora_invocation_tokens=[-1]), "alora_invocation_tokens"),
}
KINDS = {
    **{f"file: {name}": kind for name, kind in FILES.items()},
    **{f"header: {name}": kind for name, kind in HEADERS.items()},
    **{f"fit: {name}": kind for name, kind in FITS.items()},
    **{f"config: {name}": kind for name, kind in CONFIGS.items()},
}


def without_module(folder: Path) -> None:
    kept = {name: values for name, values in tensors().items() if f".0.{QUERY}." not in name}
    put(folder / TENSORS, safetensors(kept))


def main(root: Path) -> None:
    """Check every kind; print JSON: outcome and seconds of each, and every event that the audit hook saw meanwhile."""
    check_folder(adapter(root / "good"), BASE)
    folders = {}
    for number, (name, (damage, _)) in enumerate(KINDS.items()):
        folders[name] = adapter(root / str(number))
        damage(folders[name])
    events: list[str] = []
    watching = [False]

    def hook(event: str, said: tuple[Any, ...]) -> None:
        inside = event == "open" and (isinstance(said[0], int) or str(said[0]).startswith(str(root)))
        if watching[0] and event != "os.scandir" and not inside:
            events.append(f"{event} {said}"[:200])

    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    sys.addaudithook(hook)
    outcomes = {}
    for name, folder in folders.items():
        started = time.perf_counter()
        watching[0] = True
        try:
            check_folder(folder, BASE)
            outcome = "taken"
        except AdapterError:
            outcome = "refused"
        except BaseException as error:
            outcome = repr(error)
        watching[0] = False
        outcomes[name] = (outcome, time.perf_counter() - started)
    print(json.dumps({"outcomes": outcomes, "events": events}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
