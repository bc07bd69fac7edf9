"""The model card of a package, read by AWS's own SDK."""

import json

import pytest

pytest.importorskip("sagemaker.core", reason="the SageMaker SDK is not installed here: make test-sdk")

from evergreen import model_card
from sagemaker.core.model_card import ModelCardContent

from tests.unit.cards import EXPLANATION, facts, whole


def test_the_sdk_reads_every_part_of_a_card():
    described = facts() | {"about": dict.fromkeys(model_card.DEFAULT, "a text") | {"risk_rating": "Low"}}
    content = model_card.content(described, whole(), EXPLANATION)
    read = ModelCardContent.model_validate_json(content)
    assert read.model_dump(mode="json", exclude_none=True) == json.loads(content)
