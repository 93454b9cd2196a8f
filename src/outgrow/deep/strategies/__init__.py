"""Strategies: what ranks that train a network merge, with whom, and when; each in a file of its own."""

from outgrow.deep.strategies.ddp import DDP
from outgrow.deep.strategies.diloco import DiLoCo
from outgrow.deep.strategies.easgd import EASGD
from outgrow.deep.strategies.fed_avg import FedAvg
from outgrow.deep.strategies.fsdp import FSDP
from outgrow.deep.strategies.gossip import Gossip
from outgrow.deep.strategies.local_sgd import LocalSGD
from outgrow.deep.strategies.parameter_server import ParameterServer
from outgrow.deep.strategies.pipeline_parallel import PipelineParallel
from outgrow.deep.strategies.push_sum import PushSum
from outgrow.deep.strategies.strategy import Strategy
from outgrow.deep.strategies.tensor_parallel import TensorParallel

__all__ = [
    "DDP",
    "EASGD",
    "FSDP",
    "DiLoCo",
    "FedAvg",
    "Gossip",
    "LocalSGD",
    "ParameterServer",
    "PipelineParallel",
    "PushSum",
    "Strategy",
    "TensorParallel",
]
