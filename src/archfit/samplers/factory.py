"""Samplers by name."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.samplers import BaseSampler

from archfit.architecture import Choice
from archfit.errors import InputError, unknown_name
from archfit.reward import Reward
from archfit.samplers import optuna_samplers
from archfit.samplers.adapter import Canonical, ProposerSampler
from archfit.samplers.controller import Controller, ppo_rule, reinforce_rule
from archfit.samplers.evolution import Evolution
from archfit.samplers.optuna_samplers import ReplayedSampler
from archfit.samplers.predictor import Predictor
from archfit.samplers.proposals import Proposer, RandomSearch

SAMPLERS = ("auto", "evolution", "gp", "nsga2", "ppo", "predictor", "random", "reinforce", "tpe")


def make_sampler(
    name: str,
    *,
    choices: Sequence[Choice],
    seed: int,
    canonical: Canonical | None = None,
    reward: Reward | None = None,
) -> BaseSampler:
    """The sampler of that name, for a study that maximises.

    Its proposals are a function of the seed, the trial's number and the trials that finished, in the order they did:
    a new sampler on a study that was loaded again goes on as the old one would have.

    Args:
        name: One of `SAMPLERS`.
        choices: Of the search space, in its order.
        seed: Not negative.
        canonical: Maps option numbers to those that stand for all architectures with the same network; such are
            taken as one when repeats are avoided.
        reward: Of accuracy and cost ratios, for a sampler that looks at these apart where trials have them as their
            attributes `ACCURACY` and `RATIOS`.

    Raises:
        InputError: The name is unknown, the seed negative, or there is no choice.
    """
    if name not in SAMPLERS:
        raise unknown_name("sampler", name, SAMPLERS)
    if seed < 0:
        raise InputError(f"seed is {seed}; it must be 0 or more")
    if not choices:
        raise InputError("the search space has no choices; there is nothing to sample")
    # Measured (benchmarks/samplers_macro.py, benchmarks/samplers_synthetic.py): the best at 30 to 400 trials.
    name = "predictor" if name == "auto" else name
    if name == "gp":
        return ReplayedSampler(name, optuna_samplers.gp, choices, seed, canonical=canonical, tries=1)
    if name == "tpe":
        return ReplayedSampler(name, optuna_samplers.tpe, choices, seed, canonical=canonical)
    if name == "nsga2":
        return ReplayedSampler(name, optuna_samplers.nsga2, choices, seed, canonical=canonical)
    if name == "predictor":
        options = tuple(len(choice.options) for choice in choices)
        return ProposerSampler(Predictor(options, seed, reward), choices, seed, canonical)
    return ProposerSampler(
        _proposer(name, tuple(len(choice.options) for choice in choices), seed), choices, seed, canonical
    )


def _proposer(name: str, n_options: tuple[int, ...], seed: int) -> Proposer:
    if name == "random":
        return RandomSearch(n_options, seed)
    if name == "evolution":
        # Measured: sharper selection and a shorter start than 5 and 20 find more within 100 trials, and lose nothing.
        return Evolution(n_options, seed, population=20, tournament_size=10, startup_trials=10)
    return Controller(name, n_options, seed, ppo_rule if name == "ppo" else reinforce_rule)
