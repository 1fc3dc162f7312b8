"""The controller: an LSTM that decides one choice after the other (ENAS, arXiv:1802.03268, section 2)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from archfit.errors import InputError

_ABSENT = -1e9  # logit of an option that a choice does not have; finite, so that 0 * log p stays 0


class Policy(nn.Module):
    """A distribution over architectures, each choice conditioned on those before it.

    The input of step t is the embedding of the option taken at step t - 1 (a learnt start token at t = 0). Each
    choice has a head of its own; the heads are padded to the widest choice and held as one tensor, so that a step
    is a few calls however many choices there are. Logits are divided by `temperature`, then squashed to
    `tanh_constant * tanh(logits)`, which keeps the policy from becoming certain too early.

    Attributes:
        n_options: Options of each choice, in the order of the search space.
        temperature: Above 1 flattens the distribution.
        tanh_constant: Bound of the squashed logits; None leaves them free.
    """

    mask: Tensor
    offset: Tensor

    def __init__(
        self,
        n_options: Sequence[int],
        *,
        generator: torch.Generator,
        hidden: int = 100,
        temperature: float = 1.0,
        tanh_constant: float | None = 2.5,
    ) -> None:
        """Draws the weights from `generator`; torch's global generator is left alone.

        Raises:
            InputError: There is no choice, one has no option, or a scale is not positive.
        """
        super().__init__()
        self.n_options = tuple(n_options)
        if not self.n_options or min(self.n_options) < 1:
            raise InputError(f"n_options is {list(self.n_options)}; give one count of at least 1 per choice")
        if temperature <= 0 or (tanh_constant is not None and tanh_constant <= 0):
            raise InputError(f"temperature {temperature} and tanh_constant {tanh_constant} must be above zero")
        self.temperature = temperature
        self.tanh_constant = tanh_constant
        steps, width = len(self.n_options), max(self.n_options)
        bound = 1 / math.sqrt(hidden)

        def drawn(*shape: int, scale: float = bound) -> nn.Parameter:
            values = torch.empty(*shape, dtype=torch.float32, device="cpu")
            return nn.Parameter(values.uniform_(-scale, scale, generator=generator))

        self.embedding = drawn(1 + sum(self.n_options), hidden, scale=0.1)  # row 0 starts the sequence
        self.input_weight = drawn(4 * hidden, hidden)
        self.hidden_weight = drawn(4 * hidden, hidden)
        self.gate_bias = nn.Parameter(torch.zeros(4 * hidden, device="cpu"))
        self.head_weight = drawn(steps, hidden, width)
        self.head_bias = nn.Parameter(torch.zeros(steps, 1, width, device="cpu"))
        absent = [[column >= count for column in range(width)] for count in self.n_options]
        self.register_buffer("mask", torch.tensor(absent, device="cpu"), persistent=False)
        first_row = list(itertools.accumulate(self.n_options[:-1], initial=1))
        self.register_buffer("offset", torch.tensor(first_row, device="cpu"), persistent=False)

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draws architectures.

        Args:
            n: How many.
            generator: On the device of the weights.

        Returns:
            Option indices `(n, choices)`, log-probability `(n,)` and entropy `(n,)`, without gradient. The entropy is
            of the whole distribution at each step taken, in nats, summed over the steps.
        """
        steps, width = self.mask.shape
        hidden, device = self.embedding.shape[1], self.embedding.device
        noise = torch.rand(steps, n, width, generator=generator, dtype=torch.float32, device=device)
        noise = noise.clamp_(min=1e-20).log_().neg_().log_().neg_()  # Gumbel: argmax(logits + noise) is a sample
        noise.masked_fill_(self.mask[:, None], -math.inf)
        # What each token adds to the gates is known beforehand; the three sigmoids of a step are one call this way.
        token_gates = torch.addmm(self.gate_bias, self.embedding, self.input_weight.t())
        weight, heads, offset = self.hidden_weight.t().contiguous(), self.head_weight.unbind(), self.offset.tolist()
        biases, scale = (self.head_bias / self.temperature).unbind(), 1 / self.temperature
        logits = torch.empty_like(noise)
        state = cell = torch.zeros(n, hidden, device=device)
        token = torch.zeros(n, dtype=torch.long, device=device)
        taken = []
        for step in range(steps):
            gates = torch.addmm(token_gates[token], state, weight)
            open_, update = gates[:, : 2 * hidden].sigmoid_(), gates[:, 2 * hidden : 3 * hidden].tanh_()
            cell = (open_[:, hidden:] * cell).addcmul_(open_[:, :hidden], update)
            state = gates[:, 3 * hidden :].sigmoid_() * cell.tanh()
            squashed = torch.addmm(biases[step], state, heads[step], alpha=scale, out=logits[step])
            if self.tanh_constant is not None:
                squashed.tanh_().mul_(self.tanh_constant)
            index = (squashed + noise[step]).argmax(1)
            taken.append(index)
            token = index + offset[step]
        indices = torch.stack(taken, 1)
        log_probs = logits.masked_fill_(self.mask[:, None], _ABSENT).log_softmax(2).transpose(0, 1)
        return indices, *self.summed(log_probs, indices)

    def log_probs(self, indices: Tensor) -> Tensor:
        """Log-probability of every option at every step of given architectures, differentiable.

        Args:
            indices: `(n, choices)`; step t is conditioned on the first t of them.

        Returns:
            `(n, choices, widest choice)`; about -1e9 where a choice has no such option.
        """
        n, hidden = len(indices), self.embedding.shape[1]
        tokens = torch.cat([indices.new_zeros(1, n), (indices + self.offset).t()[:-1]])
        inputs = nn.functional.embedding(tokens, self.embedding)
        zeros = inputs.new_zeros(1, n, hidden)
        weights = [self.input_weight, self.hidden_weight, self.gate_bias, torch.zeros_like(self.gate_bias)]
        # has_biases, layers, dropout, train, bidirectional, batch_first: one layer over all steps in one call
        states, _, _ = torch.lstm(inputs, (zeros, zeros), weights, True, 1, 0.0, True, False, False)
        logits = torch.baddbmm(self.head_bias, states, self.head_weight) / self.temperature
        if self.tanh_constant is not None:
            logits = self.tanh_constant * logits.tanh()
        return logits.masked_fill(self.mask[:, None], _ABSENT).log_softmax(2).transpose(0, 1)

    def evaluate(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability `(n,)` and entropy `(n,)` of architectures `(n, choices)`, differentiable."""
        return self.summed(self.log_probs(indices), indices)

    @staticmethod
    def summed(log_probs: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability `(n,)` and entropy `(n,)`, both summed over the steps of `log_probs`."""
        log_prob = log_probs.gather(2, indices[:, :, None]).squeeze(2).sum(1)
        return log_prob, -(log_probs.exp() * log_probs).sum((1, 2))
