"""Makes the golden files of this directory with published implementations
(pip install gguf transformers sentencepiece).

- NAME.gguf: tiny vocabularies (no tensors) by gguf.GGUFWriter: spm (SentencePiece BPE with byte
  fallback), gpt-2, qwen2, llama-bpe (one byte-level BPE, three ways of cutting words).
- tokens.json: for each, texts and their ids by sentencepiece or transformers.
- templates.json: our own chat templates, messages, and what transformers renders from them.
"""

import io
import json
from pathlib import Path

import gguf
import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Tokenizer, Qwen2Tokenizer
from transformers.convert_slow_tokenizer import TikTokenConverter, bytes_to_unicode
from transformers.utils.chat_template_utils import render_jinja_template

HERE = Path(__file__).parent
CORPUS = [
    "The quick brown fox jumps over the lazy dog, and the dog doesn't mind at all.",
    "In 1969 the first people walked on the moon; they're remembered for it.",
    "How do I bake bread? Mix flour, water, yeast and salt, then wait for an hour.",
    "  Indented lines\n    and blank ones\n\n\nare part of the text, too.",
    "Prices rose from 12345 to 67890 in the year, which surprised everyone.",
    "She'll say that we've been there; I'd say the others haven't.",
]
BYTES = bytes_to_unicode()
TEXTS = [
    "The dog walked over the moon.",
    "  two spaces, three   spaces and a trailing one ",
    "lines\nand\n\nempty lines\n\n\n end\r\n",
    "digits 1 22 333 4444 55555, and 3.14!",
    "They're here, SHE'LL WE'VE isn't it?",
    "Grüße, naïve café – “quotes” … 你好 😀",
    "cafe\u0301 combining",
    "\ttabs\t and symbols #!$%^ &*()_+",
    " leading",
    "",
]


def spm():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 20), model_writer=model, vocab_size=420, model_type="bpe",
        byte_fallback=True, character_coverage=1.0, normalization_rule_name="identity",
        remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, split_digits=True,
        user_defined_symbols=["<tool>"], minloglevel=2)
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    writer = gguf.GGUFWriter(HERE / "spm.gguf", "llama")
    writer.add_tokenizer_model("llama")
    ids = range(sp.get_piece_size())
    kind = lambda i: (2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i)
                      else 4 if sp.id_to_piece(i) == "<tool>" else 1)
    writer.add_token_list([sp.id_to_piece(i) for i in ids])
    writer.add_token_scores([sp.get_score(i) for i in ids])
    writer.add_token_types([kind(i) for i in ids])
    writer.add_bos_token_id(sp.bos_id())
    writer.add_eos_token_id(sp.eos_id())
    finish(writer)
    return [{"text": t, "ids": sp.encode(t)} for t in TEXTS]


def byte_level():
    """A small byte-level BPE, trained with the GPT-2 way of cutting words."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(CORPUS * 20, trainers.BpeTrainer(vocab_size=380, initial_alphabet=alphabet))
    state = json.loads(tokenizer.to_str())["model"]
    vocab = dict(state["vocab"])
    # Words and digit groups whose presence shows how words were cut.
    merges = [tuple(m) for m in state["merges"]]
    for pair in [("1", "2"), ("12", "3"), ("2", "2"), ("3", "3"), ("33", "3"), ("4", "4"), ("44", "4"),
                 ("5", "5"), (BYTES[10], BYTES[10])]:
        if "".join(pair) not in vocab:
            vocab["".join(pair)] = len(vocab)
        if pair not in merges:
            merges.append(pair)
    for special in ["<|start|>", "<|end|>"]:
        vocab[special] = len(vocab)
    return vocab, merges


def write_byte_level(pre, vocab, merges):
    writer = gguf.GGUFWriter(HERE / f"{pre}.gguf", "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    tokens = sorted(vocab, key=vocab.get)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if t.startswith("<|") else 1 for t in tokens])
    writer.add_token_merges([" ".join(m) for m in merges])
    writer.add_bos_token_id(vocab["<|start|>"])
    writer.add_eos_token_id(vocab["<|end|>"])
    finish(writer)


def llama_bpe(vocab, merges):
    """Llama 3's pattern, taken from transformers' converter."""
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=True))
    pattern = TikTokenConverter(vocab_file="unused").pattern
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tokens():
    vocab, merges = byte_level()
    special = dict(unk_token=None, bos_token="<|start|>", eos_token="<|end|>", pad_token=None)
    encoders = {
        "gpt-2": GPT2Tokenizer(vocab=vocab, merges=merges, **special),
        "qwen2": Qwen2Tokenizer(vocab=vocab, merges=merges, **special),
        "llama-bpe": llama_bpe(vocab, merges),
    }
    out = {"spm": spm()}
    for pre, encode in encoders.items():
        write_byte_level(pre, vocab, merges)
        ids = lambda t: encode(t) if pre == "llama-bpe" else encode.encode(t, add_special_tokens=False)
        out[pre] = [{"text": t, "ids": ids(t)} for t in TEXTS]
    return out


TEMPLATES = {
    "turns": "{% for m in messages %}{{ '[' + m['role'].upper() + '] ' + m['content'].strip() + eos_token }}\n{% endfor %}\n{% if add_generation_prompt %}\n[ASSISTANT] {% endif %}",
    "system-first": "{{- bos_token }}\n{%- if messages[0]['role'] == 'system' %}\n    {%- set system = messages[0]['content'] %}\n    {%- set messages = messages[1:] %}\n{%- else %}\n    {%- set system = 'none' %}\n{%- endif %}\n<<{{ system | trim }}>>\n{% for message in messages %}\n    {% if loop.first %}\nfirst {{ loop.index0 }}\n    {% elif loop.last %}\nlast of {{ loop.length }}\n    {% endif %}\n{{ message.role }}={{ message.content }}\n{% endfor %}\n",
    "namespace": "{%- set ns = namespace(users=0, text='') -%}\n{%- for m in messages -%}\n  {%- if m.role == 'user' -%}{%- set ns.users = ns.users + 1 -%}{%- endif -%}\n  {%- set ns.text = ns.text ~ m.content[0] -%}\n  {%- if m.content is none -%}{%- continue -%}{%- endif -%}\n{%- endfor -%}\n{{ ns.users }}/{{ ns.text }}/{{ messages | length }}/{{ tools is none }}/{{ tools is defined }}",
    "json": "{% for m in messages %}{{ m.content | tojson }} {{ [1, m.role, none, true] | tojson }}\n{{ {'a': [m.content]} | tojson(indent=2) }}\n{% endfor %}",
    "python": "{% for m in messages %}{{ m.content.split(' ')[0] }}|{{ m.content.startswith('H') }}|{{ m.content.replace('e', 'E') }}|{{ m.get('name', 'nobody') }}|{{ m['content'][:3] }}|{{ m.content.title() }}|{{ 'x' if loop.index % 2 == 0 else 'y' }}\n{% endfor %}{% for k, v in messages[0].items() %}{{ k }}:{{ v }};{% endfor %}",
    "macro": "{% macro turn(m, mark='#') %}{{ mark }} {{ m.role }}: {{ m.content }}{% endmacro %}{% for m in messages %}{{ turn(m) }}{{ turn(m, mark='*') }}\n{%- endfor %}{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{{ add_generation_prompt }}",
}
MESSAGES = [
    [{"role": "user", "content": "Hello <there> & \"you\"'s"}],
    [{"role": "system", "content": " Be brief. "}, {"role": "user", "content": "Hi é"},
     {"role": "assistant", "content": "Hello!\n"}, {"role": "user", "content": "Name three colours"}],
]


def templates():
    out = []
    for name, source in TEMPLATES.items():
        for messages in MESSAGES:
            for prompt in [False, True]:
                text = render_jinja_template([messages], chat_template=source, add_generation_prompt=prompt,
                                             bos_token="<s>", eos_token="</s>")[0][0]
                out.append({"name": name, "template": source, "messages": messages,
                            "add_generation_prompt": prompt, "text": text})
    return out


def dump(name, value):
    (HERE / name).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


dump("tokens.json", tokens())
dump("templates.json", templates())
