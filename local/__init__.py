"""The whole product on one machine: MiniStack, a SageMaker service beside it, the real template in it."""
