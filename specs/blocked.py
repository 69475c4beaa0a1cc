"""Blocked attention: a query sees the keys of its own block of `block` positions.

This is the first pattern of fixed sparse attention without its order (Child et al. 2019, section
4.3), and the unshifted window of Swin on a line; the last block may be shorter.
"""

from attnverify.notation import attention, parameter, same_block

block = parameter("block", integer=True, ge=1, doc="positions in a block")

spec = attention("blocked", mask=same_block(block), parameters=[block])
