"""What a container in service tells of its answers."""

import io
import json

import pytest

from jobs import answers, serve


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ({"prediction": 1, "probability": 0.8}, 0.8),
        ({"prediction": 12.5}, 12.5),
        (3, 3.0),
        ({"prediction": "b", "probabilities": {"a": 0.1, "b": 0.9}}, None),
        ({"prediction": True}, None),
        ({"prediction": float("nan")}, None),
        (None, None),
    ],
)
def test_an_answer_is_one_number_or_none(answer, number):
    assert answers.number(answer) == number


def lines(*probabilities: float) -> bytes:
    return b"".join(b'{"prediction": 0, "probability": %f}\n' % value for value in probabilities)


def test_an_answer_of_any_size_and_kind_has_a_mean():
    assert answers.mean(lines(0.2, 0.4)) == pytest.approx(0.3)
    assert answers.mean(b'{"predictions": [{"prediction": 2}, {"prediction": 4}]}') == 3
    assert answers.mean(lines(*(row / 1000 for row in range(1000)))) == pytest.approx(0.5, abs=0.01)
    for nothing in (b"", b"not json", b"0,1,2\n", b'{"prediction": "late"}\n', b"[1, 2"):
        assert answers.mean(nothing) is None


def told(text: str) -> list[list[float]]:
    documents = [json.loads(line) for line in text.splitlines()]
    for document in documents:
        [directive] = document["_aws"]["CloudWatchMetrics"]
        assert (directive["Namespace"], directive["Dimensions"]) == ("Evergreen", [["Deployment"]])
        assert document["Deployment"] == "evergreen-flights-v3-4d5e6f"
    return [document["Answer"] for document in documents]


def test_the_first_answer_is_told_at_once_and_the_next_ones_together(capsys, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(answers.time, "monotonic", lambda: now)
    telling = answers.Telling("evergreen-flights-v3-4d5e6f")
    for value in (0.1, 0.2, 0.3):
        telling.see(lines(value))
    now += answers.LONGEST
    telling.see(lines(0.4))
    for _ in range(answers.MOST_VALUES):
        telling.see(lines(0.5))
    assert told(capsys.readouterr().out) == [[0.1], [0.2, 0.3, 0.4], [0.5] * answers.MOST_VALUES]


class Model:
    def invoke(self, body: bytes, content_type: str, accept: str) -> tuple[bytes, str]:
        return lines(0.7), accept


def test_a_smoke_test_is_answered_and_not_told_of(capsys):
    app = serve.application(Model(), answers.Telling("evergreen-flights-v3-4d5e6f"))
    statuses = []

    def ask(**headers: str) -> None:
        environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/invocations", "wsgi.input": io.BytesIO()}
        assert app(environ | headers, lambda status, _: statuses.append(status)) == [lines(0.7)]

    ask(HTTP_X_AMZN_SAGEMAKER_CUSTOM_ATTRIBUTES=answers.SMOKE_TEST)
    assert told(capsys.readouterr().out) == []
    ask(HTTP_X_AMZN_SAGEMAKER_CUSTOM_ATTRIBUTES="of the caller's own")
    assert told(capsys.readouterr().out) == [[0.7]]
    assert statuses == ["200 OK"] * 2


def test_what_both_models_answer_to_the_same_rows_is_expected_in_service():
    ours = [{"prediction": 0, "probability": value} for value in (0.1, 0.3)]
    theirs = [{"prediction": 0, "probability": value} for value in (0.2, 0.6)]
    assert answers.expected(ours, theirs) == pytest.approx({"mean": 0.2, "spread": 0.1, "champion": 0.4})
    assert answers.expected(ours, None)["champion"] is None
    assert answers.expected([{"prediction": "a"}, {"prediction": "b"}], None) is None
    assert answers.expected([{"prediction": 1.0}] * 2, None) is None, "no unit to count in"
