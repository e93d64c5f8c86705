"""Tiny checkpoints of one tower each, as transformers saves them, and what transformers computes from them.

Made with transformers 5.17.0, torch 2.13.0: python make_towers.py
"""
import json
import os
import shutil

import torch
import transformers
from transformers import (
    CLIPConfig,
    CLIPForImageClassification,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
)

from common import HERE, pixels, seeded

OUT = os.path.join(HERE, "towers")
SIZE, CONTEXT = 24, 12
TEXTS = ["a photo of a cat", "Two dogs!", "x"]
vision = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=SIZE, patch_size=8, projection_dim=16)
text = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, vocab_size=524, max_position_embeddings=CONTEXT, projection_dim=16, bos_token_id=522, eos_token_id=523, pad_token_id=523)
tokenizer = CLIPTokenizer(vocab=f"{HERE}/hf-4/vocab.json", merges=f"{HERE}/hf-4/merges.txt")
ids = tokenizer(TEXTS, padding="max_length", max_length=CONTEXT, truncation=True, return_tensors="pt").input_ids
lengths = [len(i) for i in tokenizer(TEXTS, truncation=True, max_length=CONTEXT).input_ids]


def rows(x):
    return [[float(f"{v:.9g}") for v in row] for row in x.reshape(x.shape[0], -1).tolist()]


def image_outputs(model):
    tower = getattr(model, "vision_model", model)
    out = tower(pixel_values=pixels(SIZE))
    result = dict(pooled=rows(out.pooler_output), tokens=rows(tower.post_layernorm(out.last_hidden_state)))
    if hasattr(model, "visual_projection"):
        result["embedding"] = rows(model(pixel_values=pixels(SIZE)).image_embeds)
    return result


def text_outputs(model):
    tower = getattr(model, "text_model", model)
    out = tower(input_ids=ids)
    result = dict(pooled=rows(out.pooler_output), tokens=[rows(t[None, :n])[0] for t, n in zip(out.last_hidden_state, lengths)])
    if hasattr(model, "text_projection"):
        result["embedding"] = rows(model(input_ids=ids).text_embeds)
    return result


def make(kind, config, seed, outputs):
    folder = os.path.join(OUT, kind.__name__)
    shutil.rmtree(folder, ignore_errors=True)
    model = seeded(kind(config), seed).half()
    model.save_pretrained(folder)
    model = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        return outputs(model)


if __name__ == "__main__":
    expected = dict(madeBy=f"transformers {transformers.__version__}, torch {torch.__version__}", texts=TEXTS)
    expected["CLIPVisionModelWithProjection"] = make(CLIPVisionModelWithProjection, CLIPVisionConfig(**vision), 1, image_outputs)
    expected["CLIPVisionModel"] = make(CLIPVisionModel, CLIPVisionConfig(**vision), 2, image_outputs)
    expected["CLIPTextModelWithProjection"] = make(CLIPTextModelWithProjection, CLIPTextConfig(**text), 3, text_outputs)
    expected["CLIPTextModel"] = make(CLIPTextModel, CLIPTextConfig(**text | dict(hidden_act="gelu")), 4, text_outputs)
    both = CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
    expected["CLIPForImageClassification"] = make(CLIPForImageClassification, both, 5, image_outputs)
    json.dump(expected, open(os.path.join(OUT, "expected.json"), "w"))
