"""What proposes the next architecture: random, evolution, a controller, or one of Optuna's samplers.

Samplers see choices as integers and rewards as floats, never modules.
"""

from archfit.samplers.adapter import ACCURACY, PROMOTES, RATIOS, ProposerSampler, distributions
from archfit.samplers.controller import Controller
from archfit.samplers.evolution import Evolution
from archfit.samplers.factory import SAMPLERS, make_sampler
from archfit.samplers.gaussian_process import GaussianProcess, denoised
from archfit.samplers.policy import Policy
from archfit.samplers.ppo import Ppo, PpoSettings, clipped_surrogate
from archfit.samplers.predictor import Predictor
from archfit.samplers.proposals import Observation, Proposal, Proposer, RandomSearch, stream
from archfit.samplers.reinforce import Reinforce, ReinforceSettings, moving_baseline, reinforce_loss
from archfit.samplers.skip_penalty import skip_penalty

__all__ = [
    "ACCURACY",
    "PROMOTES",
    "RATIOS",
    "SAMPLERS",
    "Controller",
    "Evolution",
    "GaussianProcess",
    "Observation",
    "Policy",
    "Ppo",
    "PpoSettings",
    "Predictor",
    "Proposal",
    "Proposer",
    "ProposerSampler",
    "RandomSearch",
    "Reinforce",
    "ReinforceSettings",
    "clipped_surrogate",
    "denoised",
    "distributions",
    "make_sampler",
    "moving_baseline",
    "reinforce_loss",
    "skip_penalty",
    "stream",
]
