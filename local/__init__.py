"""The whole product on one machine: MiniStack with a SageMaker service beside it, and the real template in it."""
