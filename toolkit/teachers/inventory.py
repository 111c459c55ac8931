"""Which pretrained weights the teachers of the protocols take, see `toolkit.encoders.inventory`."""

from toolkit.encoders.inventory import Weights, of_hub
from toolkit.teachers.api import teacher_module
from toolkit.teachers.protocol import load_protocol, protocol_names


def wanted() -> list[Weights]:
    """Those of every protocol that comes along."""
    found = []
    for name in protocol_names():
        module = teacher_module(load_protocol(name).teacher)
        pretrained = module.pretrained() if module.SOURCES else ()
        found += [of_hub(f"protocol {name}", one) for one in pretrained]
    return found
