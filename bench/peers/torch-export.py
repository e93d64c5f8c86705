"""Writes the exporter's own files, to check that ours are as fast (bench/README.md): torch.onnx.export of transformers'
CLIPModel (random weights; the default configuration is ViT-B/32), and quantize_dynamic of the results.
Written for torch 2.13.0, transformers 5.17.0, onnx 1.23.1, onnxruntime 1.30.0: python torch-export.py FOLDER"""

import sys

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import CLIPConfig, CLIPModel, CLIPTextModelWithProjection, CLIPVisionModelWithProjection

folder = sys.argv[1]
torch.manual_seed(0)
CLIPModel(CLIPConfig()).save_pretrained(folder + "/hf")
vision = CLIPVisionModelWithProjection.from_pretrained(folder + "/hf", attn_implementation="eager").eval()
text = CLIPTextModelWithProjection.from_pretrained(folder + "/hf", attn_implementation="eager").eval()


class Vision(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = vision

    def forward(self, x):
        return self.model(pixel_values=x).image_embeds


class Text(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = text

    def forward(self, x):
        return self.model(input_ids=x).text_embeds


ids = torch.randint(1, 40000, (2, 10))
ids[:, -1] = 49407
with torch.no_grad():
    torch.onnx.export(
        Vision(), (torch.randn(2, 3, 224, 224),), folder + "/vision.onnx", dynamo=False, opset_version=17,
        input_names=["pixel_values"], output_names=["image_embeds"],
        dynamic_axes={"pixel_values": {0: "batch"}, "image_embeds": {0: "batch"}},
    )
    torch.onnx.export(
        Text(), (ids,), folder + "/text.onnx", dynamo=False, opset_version=17,
        input_names=["input_ids"], output_names=["text_embeds"],
        dynamic_axes={"input_ids": {0: "batch", 1: "sequence"}, "text_embeds": {0: "batch"}},
    )
for name in ("vision", "text"):
    quantize_dynamic(f"{folder}/{name}.onnx", f"{folder}/{name}-int8.onnx", per_channel=True, weight_type=QuantType.QInt8)
