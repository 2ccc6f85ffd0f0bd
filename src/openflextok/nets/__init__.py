"""Networks: transformer blocks, the register encoder, the flow decoder."""
