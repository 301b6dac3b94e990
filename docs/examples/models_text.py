"""A text classifier of transformers with an attention mask."""

import torch
from transformers import BertConfig, BertForSequenceClassification

import equitune

torch.manual_seed(0)
small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
config = BertConfig(**small, intermediate_size=32, vocab_size=50, num_labels=3)
net = BertForSequenceClassification(config).eval()

MAN, WOMAN, HE, SHE = 10, 11, 12, 13  # token ids
swap = equitune.cyclic(2)
words = equitune.Relabel(swap, equitune.cycle_permutations(50, [[MAN, WOMAN], [HE, SHE]]))
model = equitune.Equivariant(net, words, equitune.Invariant(swap), output="logits")

ids = torch.tensor([[2, MAN, 5, HE, 3], [2, 7, SHE, 3, 0]])
mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])
logits = model(ids, attention_mask=mask)  # the mask is repeated for every view
swapped = model(words.act(1, ids), attention_mask=mask)
torch.testing.assert_close(swapped, logits)

plain = net(ids, attention_mask=mask).logits
assert not torch.allclose(net(words.act(1, ids), attention_mask=mask).logits, plain)
