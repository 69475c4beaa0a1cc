"""In the process of one rank: join the others as torch.distributed does."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from attnverify.errors import MissingExtraError

# A rank waits for the others as long as a framework may take to be imported.
WAITING = 300


def join(told: Mapping[str, Any]) -> None:
    """Begin the process group (gloo) that `told` says: this rank, of how many, met at which file.

    Raises MissingExtraError without PyTorch.
    """
    try:
        import torch.distributed as dist  # noqa: PLC0415  an extra
    except ImportError as error:
        raise MissingExtraError("judging ranks", extra="torch") from error
    # All ranks are on this machine, whatever its name resolves to.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    dist.init_process_group(
        "gloo",
        init_method=f"file://{told['file']}",
        rank=int(told["rank"]),
        world_size=int(told["of"]),
        timeout=timedelta(seconds=WAITING),
    )
