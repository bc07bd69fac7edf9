"""What the batch machine waits for, and how long."""

from tests.lint_asl import states
from tests.machines.engine import machine


def test_the_machine_outlasts_the_longest_wait_for_a_quota_and_the_longest_job() -> None:
    definition = machine("batch").definition
    (score,) = [state for _, name, state in states(definition) if name == "ScoreBatch"]
    (quota,) = [rule for rule in score["Retry"] if "ResourceLimitExceeded" in str(rule["ErrorEquals"])]
    longest = quota["MaxAttempts"] * quota["MaxDelaySeconds"]
    assert longest / 2 >= 4 * 3600 * 0.95, "full jitter waits half as long on average"
    assert definition["TimeoutSeconds"] >= longest + score["TimeoutSeconds"]
