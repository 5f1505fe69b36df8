"""Writes quantised.json: codes and scales of small matrices by PyTorch, as bitsandbytes' default operators compute them.

Run: python3 test/golden/quantised.py. int8 and nf4 restate bitsandbytes/backends/default/ops.py and functional.py (create_dynamic_map);
int4 is the usual affine code, with its scale and its least value in float16. Among the rows are zeros, ties and a block of one element.
"""
import base64
import json
import os

import torch

torch.manual_seed(5)
torch.set_num_threads(1)
NF4 = torch.tensor([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
                    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
                    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0])
GROUP = 64


def dynamic_map():
    data = []
    for i in range(7):
        items = int(2 ** (i + 1) / 2) + 1  # signed, 7 bits of exponent in all
        boundaries = torch.linspace(0.1, 1, items)
        means = (boundaries[:-1] + boundaries[1:]) / 2
        data += ((10 ** (-6 + i)) * means).tolist() + (-(10 ** (-6 + i)) * means).tolist()
    return torch.tensor(sorted(data + [0, 1.0]))


def int8(a):
    stats = a.abs().amax(1)
    codes = torch.round(a * (127.0 / stats.unsqueeze(-1)))
    codes[stats == 0] = 0
    return {"codes": codes.to(torch.int8).flatten().tolist(), "scales": (stats / 127).tolist()}


def int4(a):
    codes, scales, least = [], [], []
    for row in a:
        for run in row.split(GROUP):
            low = run.min().half()
            scale = ((run.max() - low.float()) / 15).half()
            known = torch.zeros_like(run) if scale == 0 else ((run - low.float()) / scale.float()).round().clamp(0, 15)
            codes += known.int().tolist()
            scales.append(scale.item())
            least.append(low.item())
    return {"codes": codes, "scales": scales, "least": least}


def nf4(a):
    flat = a.flatten()
    blocks = list(flat.split(GROUP))
    absmax = torch.stack([block.abs().max() for block in blocks])
    scaled = torch.cat([torch.zeros_like(b) if m == 0 else (b / m).clamp(-1, 1) for b, m in zip(blocks, absmax)])
    codes = (scaled.view(-1, 1) - NF4).abs().argmin(-1)
    codes = torch.cat([codes, codes.new_zeros(len(codes) % 2)])
    packed = codes[::2] << 4 | codes[1::2]
    offset = absmax.mean()
    centred = absmax - offset
    nested = torch.stack([run.abs().max() for run in centred.split(256)])
    shares = torch.cat([(run / m).clamp(-1, 1) if m > 0 else run * 0 for run, m in zip(centred.split(256), nested)])
    table = dynamic_map()
    return {"packed": packed.tolist(), "absmax": (shares.view(-1, 1) - table).abs().argmin(-1).tolist(), "offset": offset.item(),
            "nested": nested.tolist()}


def case(a):
    return {"shape": list(a.shape), "values": base64.b64encode(a.numpy().tobytes()).decode(), "int8": int8(a), "int4": int4(a), "nf4": nf4(a)}


ties = torch.tensor([[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5], [15.0, 0.5, 1.5, 2.5, 14.5, 13.5, 0.0, 7.5]])
zeros = torch.cat([torch.zeros(1, 130), torch.randn(1, 130)])
zeros[1, 64:128] = 0
cases = [torch.randn(5, 65), torch.randn(3, 200) * torch.tensor([[1e-3], [1.0], [50.0]]), torch.rand(2, 64) + 3, ties, zeros]
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "quantised.json"), "w") as file:
    json.dump([case(a.contiguous()) for a in cases], file)
    file.write("\n")
