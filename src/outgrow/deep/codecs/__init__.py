"""Codecs: how arrays are written small on their way between ranks."""

from outgrow.deep.codecs.bfloat16 import Bfloat16
from outgrow.deep.codecs.codec import Codec
from outgrow.deep.codecs.int8 import Int8
from outgrow.deep.codecs.power_sgd import PowerSGD
from outgrow.deep.codecs.sign import Sign
from outgrow.deep.codecs.top_k import TopK

__all__ = ["Bfloat16", "Codec", "Int8", "PowerSGD", "Sign", "TopK"]
