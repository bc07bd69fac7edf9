"""The SDK's table of image URIs against the images that the local SageMaker stands for."""

import pytest

pytest.importorskip("sagemaker.core", reason="the SageMaker SDK is not installed here: make test-sdk")

from types import SimpleNamespace

from sagemaker.core import image_uris
from sagemaker.core.image_retriever.image_retriever_utils import config_for_framework

from local.sagemaker.containers import UnknownImage, default_images, find_image

REGIONS = ["us-east-1", "eu-central-1", "ap-southeast-2", "cn-north-1", "us-gov-west-1"]


@pytest.fixture
def service():
    return SimpleNamespace(images=default_images())


@pytest.mark.parametrize("scope", ["training", "inference"])
@pytest.mark.parametrize("region", REGIONS)
def test_each_scikit_learn_image_is_stood_for(service, region, scope):
    jobs = service.images["evergreen-jobs"]
    for version in config_for_framework("sklearn")[scope]["versions"]:
        uri = image_uris.retrieve("sklearn", region, version=version, py_version="py3", image_scope=scope)
        assert find_image(service, uri) == jobs


@pytest.mark.parametrize(
    ("framework", "version"), [("xgboost", "1.7-1"), ("linear-learner", "1"), ("model-monitor", None)]
)
def test_other_images_are_refused_with_what_there_is(service, framework, version):
    uri = image_uris.retrieve(framework, "us-east-1", version=version)
    with pytest.raises(UnknownImage, match=f"{uri} .*: there are evergreen-jobs, sagemaker-scikit-learn"):
        find_image(service, uri)
