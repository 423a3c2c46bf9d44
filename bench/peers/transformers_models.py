"""GPT-2, Llama and Qwen2 as Hugging Face transformers has them: what most people mean by PyTorch, with the cost of a
framework in each step. Random weights in the shape of a config.json; the same two forms of a step as torch_models.py.
"""

import torch
import transformers

VERSION = ", transformers " + transformers.__version__


class Model(torch.nn.Module):
    def __init__(self, config, context):
        super().__init__()
        fields = {key: value for key, value in config.items() if key not in ("model_type", "architectures")}
        settings = transformers.AutoConfig.for_model(config["model_type"], **fields)
        self.model = transformers.AutoModelForCausalLM.from_config(settings, attn_implementation="sdpa")
        self.context, self.static = context, None

    def begin(self, compiled):
        """Eager steps have a cache that grows, compiled ones a static one that is wiped for each text."""
        if not compiled:
            return transformers.DynamicCache(config=self.model.config)
        if self.static is None:
            self.static = transformers.StaticCache(config=self.model.config, max_cache_len=self.context)
        else:
            self.static.reset()
        return self.static

    def whole(self, ids, cache=None):
        result = self.model(ids[None], past_key_values=cache, use_cache=cache is not None, logits_to_keep=1)
        return result.logits[0]

    def cached(self, ids, position, cache):
        return self.model(ids[None], past_key_values=cache, use_cache=True, logits_to_keep=1).logits[0]
