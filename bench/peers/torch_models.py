"""GPT-2 and Llama (Qwen2 too) in plain PyTorch, as its documentation would have one write them for speed on a CPU.

No framework stands around them, which is worth almost a factor of two in eager decoding. Weights are random: what is
timed does not depend on them. Shapes come from a config.json. Two forms of one step:

- `whole(ids)`: the text from its beginning, nothing cached; logits of the last row alone.
- `cached(ids, position, cache)`: one new id at `position`, keys and values of the earlier ones in a static cache.

transformers_models.py offers the same two.
"""

import math

import torch
import torch.nn.functional as F


class Norm(torch.nn.Module):
    def __init__(self, size, eps, centred):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(size))
        self.bias = torch.nn.Parameter(torch.zeros(size)) if centred else None
        self.size, self.eps = (size,), eps

    def forward(self, x):
        if self.bias is not None:
            return F.layer_norm(x, self.size, self.weight, self.bias, self.eps)
        return F.rms_norm(x, self.size, self.weight, self.eps)


def rotate(x, cos, sin):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class Attention(torch.nn.Module):
    """q, k and v come from one linear; keys and values may be shared by groups of query heads."""

    def __init__(self, shape):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = shape.heads, shape.kv_heads, shape.head_dim
        rows = (self.heads + 2 * self.kv_heads) * self.head_dim
        self.qkv = torch.nn.Linear(shape.hidden, rows, bias=shape.qkv_bias)
        self.out = torch.nn.Linear(self.heads * self.head_dim, shape.hidden, bias=shape.output_bias)

    def project(self, x, rope):
        y = self.qkv(x).view(x.shape[0], -1, self.head_dim).transpose(0, 1)  # [heads + 2 * kv_heads, T, head_dim]
        q, k, v = y.split((self.heads, self.kv_heads, self.kv_heads))
        if rope is not None:
            q, k = rotate(q, *rope), rotate(k, *rope)
        return q, k, v

    def whole(self, x, rope, kept):
        q, k, v = self.project(x, rope)
        if kept is not None:  # keys and values [kv_heads, context, head_dim] of a cache
            kept[0][:, :x.shape[0]], kept[1][:, :x.shape[0]] = k, v
        grouped = self.heads != self.kv_heads
        y = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True, enable_gqa=grouped)[0]
        return self.out(y.transpose(0, 1).reshape(x.shape[0], -1))

    def cached(self, x, rope, keys, values, position, mask):
        """One new row. The query heads of a group are rows of one product, so that keys are read once."""
        q, k, v = self.project(x, rope)
        if isinstance(position, int):  # eager: views of what is filled
            keys[:, position] = k[:, 0]
            values[:, position] = v[:, 0]
            keys, values = keys[:, :position + 1], values[:, :position + 1]
        else:  # compiled: all of the cache, under a mask
            keys.index_copy_(1, position, k)
            values.index_copy_(1, position, v)
        q = q.reshape(self.kv_heads, -1, self.head_dim)
        y = F.scaled_dot_product_attention(q[None], keys[None], values[None], attn_mask=mask)[0]
        return self.out(y.reshape(1, -1))


class Layer(torch.nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.norm1 = Norm(shape.hidden, shape.eps, shape.gpt2)
        self.attention = Attention(shape)
        self.norm2 = Norm(shape.hidden, shape.eps, shape.gpt2)
        self.gpt2 = shape.gpt2
        up = shape.intermediate if shape.gpt2 else 2 * shape.intermediate  # gate and up in one linear
        self.up = torch.nn.Linear(shape.hidden, up, bias=shape.mlp_bias)
        self.down = torch.nn.Linear(shape.intermediate, shape.hidden, bias=shape.mlp_bias)

    def mlp(self, x):
        y = self.up(self.norm2(x))
        if self.gpt2:
            return x + self.down(F.gelu(y, approximate="tanh"))
        gate, up = y.chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)

    def whole(self, x, rope, kept):
        return self.mlp(x + self.attention.whole(self.norm1(x), rope, kept))

    def cached(self, x, rope, keys, values, position, mask):
        return self.mlp(x + self.attention.cached(self.norm1(x), rope, keys, values, position, mask))


class Shape:
    """The sizes of a config.json, of the families gpt2, llama and qwen2."""

    def __init__(self, config):
        family = config["model_type"]
        if family not in ("gpt2", "llama", "qwen2"):
            raise ValueError("model_type: expected gpt2, llama or qwen2, found %s" % family)
        self.gpt2 = family == "gpt2"
        if self.gpt2:
            self.hidden, self.layers, self.heads = config["n_embd"], config["n_layer"], config["n_head"]
            self.kv_heads, self.eps = self.heads, config["layer_norm_epsilon"]
            self.intermediate = config.get("n_inner") or 4 * self.hidden
            self.head_dim, self.tied = self.hidden // self.heads, config.get("tie_word_embeddings", True)
        else:
            self.hidden, self.layers = config["hidden_size"], config["num_hidden_layers"]
            self.heads, self.intermediate = config["num_attention_heads"], config["intermediate_size"]
            self.kv_heads, self.eps = config.get("num_key_value_heads") or self.heads, config["rms_norm_eps"]
            self.head_dim = config.get("head_dim") or self.hidden // self.heads
            self.tied = config.get("tie_word_embeddings", False)
        self.vocab, self.rope_theta = config["vocab_size"], config.get("rope_theta", 10000.0)
        self.qkv_bias = self.gpt2 or family == "qwen2" or config.get("attention_bias", False)
        self.output_bias = self.gpt2 or (family == "llama" and config.get("attention_bias", False))
        self.mlp_bias = self.gpt2 or config.get("mlp_bias", False)


class Model(torch.nn.Module):
    """`context` is the longest text."""

    def __init__(self, config, context):
        super().__init__()
        shape = self.shape = Shape(config)
        self.context, self.cache = context, None
        self.embedding = torch.nn.Embedding(shape.vocab, shape.hidden)
        self.layers = torch.nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = Norm(shape.hidden, shape.eps, shape.gpt2)
        self.head = torch.nn.Linear(shape.hidden, shape.vocab, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                torch.nn.init.normal_(parameter, std=0.02)
        if shape.tied:
            self.head.weight = self.embedding.weight
        if shape.gpt2:
            self.positions = torch.nn.Embedding(context, shape.hidden)
        else:
            step = torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim
            angles = torch.outer(torch.arange(context, dtype=torch.float32), shape.rope_theta ** -step)
            self.register_buffer("cos", angles.cos())
            self.register_buffer("sin", angles.sin())

    def begin(self, compiled):
        """The cache of a new text. Eager and compiled steps share one: what is not yet written is not looked at."""
        if self.cache is None:
            size = (self.shape.kv_heads, self.context, self.shape.head_dim)
            # A tensor for each: of views into one, torch.compile would copy the whole at every write.
            self.cache = [tuple(torch.zeros(size, dtype=self.head.weight.dtype) for _ in range(2))
                          for _ in range(self.shape.layers)]
        return self.cache

    def embed(self, ids, rows):
        """Hidden rows, and the rotation of the positions `rows` (a slice, or a tensor of indices)."""
        x = self.embedding(ids)
        if self.shape.gpt2:
            return x + self.positions.weight[rows], None
        return x, (self.cos[rows], self.sin[rows])

    def finish(self, x):
        return self.head(self.norm(x[-1:]))

    def whole(self, ids, cache=None):
        """With a cache, keys and values land in it."""
        x, rope = self.embed(ids, slice(0, ids.shape[0]))
        for i, layer in enumerate(self.layers):
            x = layer.whole(x, rope, None if cache is None else cache[i])
        return self.finish(x)

    def cached(self, ids, position, cache):
        if isinstance(position, int):
            x, rope = self.embed(ids, slice(position, position + 1))
            mask = None
        else:
            x, rope = self.embed(ids, position)
            mask = (torch.arange(self.context) <= position)[None]
        for i, layer in enumerate(self.layers):
            x = layer.cached(x, rope, *cache[i], position, mask)
        return self.finish(x)
