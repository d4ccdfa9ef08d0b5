from bench.metrics import total

PAGE = """\
# HELP gateway_inference_requests_total requests
# TYPE gateway_inference_requests_total counter
gateway_inference_requests_total{model="five",variant="stable",outcome="success"} 7.0
gateway_inference_requests_total{model="five",variant="direct",outcome="success"} 2.0
gateway_inference_requests_total{model="five",variant="stable",outcome="client_gone"} 1.0
"""
NAME = "gateway_inference_requests_total"


def test_samples_are_summed_by_the_labels_that_matter() -> None:
    assert total(PAGE, NAME, outcome="success") == 9.0
    assert total(PAGE, NAME, outcome="client_gone", model="five") == 1.0
    assert total(PAGE, NAME) == 10.0
    assert total(PAGE, NAME, model="six") == 0.0
