"""Makes the golden files of this directory with the published `gguf` package (pip install gguf).

- dequantised.json: for every block type, random blocks as hex and their values by
  gguf.quants.dequantize.
- tiny.gguf: a LLaMA of one block by gguf.GGUFWriter, in mixed types, with a byte-level vocabulary;
  tiny.json: what a reader should get from it (Hugging Face's names and row order).
"""

import json
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import quants

HERE = Path(__file__).parent
RNG = np.random.default_rng(7)
TYPES = [T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q4_K, T.Q5_K, T.Q6_K, T.BF16, T.F16]
# Where the half-precision scales sit in a block: random bits there could be infinite.
SCALES = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
          T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208]}


def half(values):
    return np.asarray(values, dtype=np.float16).view(np.uint8)


def blocks(kind, count):
    size = gguf.GGML_QUANT_SIZES[kind][1]
    if kind in (T.BF16, T.F16):
        count = 12
    data = RNG.integers(0, 256, (count, size), dtype=np.uint8)
    for row in data:
        for at in SCALES.get(kind, []):
            row[at:at + 2] = half([RNG.normal() * 0.1])
        if kind in (T.BF16, T.F16):
            row[1] &= 0xBF  # a finite exponent
    return data


def dequantised():
    out = {}
    for kind in TYPES:
        data = blocks(kind, 2)
        values = quants.dequantize(data, kind).astype(np.float32).reshape(-1)
        out[kind.name] = {"hex": data.tobytes().hex(), "values": [float(v) for v in values]}
    return out


def interleave(weight, heads):
    """Rows as LLaMA's converter stores them: the two halves of a head interleaved."""
    rows = weight.shape[0]
    split = weight.reshape(heads, 2, rows // heads // 2, *weight.shape[1:])
    return split.swapaxes(1, 2).reshape(weight.shape)


def tiny():
    hidden, heads, kv_heads, inner, vocab = 32, 4, 2, 64, 40
    head_dim = hidden // heads
    writer = gguf.GGUFWriter(HERE / "tiny.gguf", "llama")
    writer.add_block_count(1)
    writer.add_context_length(128)
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(50000.0)
    writer.add_vocab_size(vocab)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"t{i}" for i in range(vocab)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    normal = lambda *shape: RNG.normal(size=shape).astype(np.float32)
    expected = {}

    def add(name, hf_name, weight, kind, heads=None):
        stored = interleave(weight, heads) if heads else weight
        if kind == T.F32:
            writer.add_tensor(name, stored)
            back = stored
        else:
            data = quants.quantize(stored, kind)
            writer.add_tensor(name, data, raw_dtype=kind)
            back = quants.dequantize(data, kind).astype(np.float32)
        if heads:
            rows = back.shape[0]
            back = back.reshape(heads, rows // heads // 2, 2, -1).swapaxes(1, 2).reshape(back.shape)
        flat = [float(v) for v in back.reshape(-1)]
        expected[hf_name] = {"shape": list(weight.shape), "head": flat[:96], "sum": float(np.sum(back, dtype=np.float64))}

    layer = "model.layers.0."
    add("token_embd.weight", "model.embed_tokens.weight", normal(vocab, hidden), T.Q8_0)
    add("blk.0.attn_norm.weight", layer + "input_layernorm.weight", normal(hidden), T.F32)
    add("blk.0.attn_q.weight", layer + "self_attn.q_proj.weight", normal(hidden, hidden), T.Q4_1, heads)
    add("blk.0.attn_k.weight", layer + "self_attn.k_proj.weight", normal(kv_heads * head_dim, hidden), T.F16, kv_heads)
    add("blk.0.attn_v.weight", layer + "self_attn.v_proj.weight", normal(kv_heads * head_dim, hidden), T.BF16)
    add("blk.0.attn_output.weight", layer + "self_attn.o_proj.weight", normal(hidden, hidden), T.Q5_0)
    add("blk.0.ffn_norm.weight", layer + "post_attention_layernorm.weight", normal(hidden), T.F32)
    add("blk.0.ffn_gate.weight", layer + "mlp.gate_proj.weight", normal(inner, hidden), T.Q5_1)
    add("blk.0.ffn_up.weight", layer + "mlp.up_proj.weight", normal(inner, hidden), T.Q4_0)
    add("blk.0.ffn_down.weight", layer + "mlp.down_proj.weight", normal(hidden, inner), T.F32)
    add("output_norm.weight", "model.norm.weight", normal(hidden), T.F32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return expected


def dump(name, value):
    (HERE / name).write_text(json.dumps(value, separators=(",", ":")) + "\n")


dump("dequantised.json", dequantised())
dump("tiny.json", tiny())
