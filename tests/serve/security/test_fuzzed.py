"""Whatever fits or does not fit the description of the server is answered as the description says, by a real server."""

import warnings

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of what schemathesis imports
    import schemathesis
    from schemathesis.specs.openapi import checks as conformance

from pennyweight.serve.described import OPEN

CHECKS = [
    schemathesis.checks.not_a_server_error,
    conformance.status_code_conformance,
    conformance.content_type_conformance,
    conformance.response_schema_conformance,
]


@pytest.fixture(scope="module")
def operations(house):
    """Everything that can be asked, as it is described."""
    told = httpx.get(f"{house.address}/openapi.json", headers=house.bearer["admin"], timeout=60).json()
    described = schemathesis.openapi.from_dict(told)
    described.config.update(base_url=house.address)
    found = [each.ok() for each in described.get_all_operations()]
    assert len(found) == len(told["paths"]) > 9
    return found


def asked(operation, mode, ask, examples):
    """Let cases be made for an operation, and each of them asked."""
    cases = operation.as_strategy(generation_mode=mode)
    settings(max_examples=examples, suppress_health_check=list(HealthCheck), derandomize=True)(given(cases)(ask))()


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.name)
def test_the_server_answers_as_it_is_described(house, operations, mode):
    codes = set()

    def ask(case):
        if mode is schemathesis.GenerationMode.POSITIVE and case.path_parameters:
            case.path_parameters = {name: {"model": "times", "number": "1"}[name] for name in case.path_parameters}
        reply = case.call(headers=house.bearer["admin"], timeout=60)
        codes.add(str(reply.status_code))
        case.validate_response(reply, checks=CHECKS, headers=house.bearer["admin"])

    for operation in operations:
        if mode is schemathesis.GenerationMode.POSITIVE or operation.path_parameters:
            asked(operation, mode, ask, 40)
    assert "200" in codes or mode is not schemathesis.GenerationMode.POSITIVE


def test_without_a_key_nothing_but_health_is_answered_whatever_is_sent(house, operations):
    def ask(case):
        assert case.call(timeout=60).status_code in {400, 401, 404, 405}

    for operation in operations:
        if operation.path not in OPEN:
            asked(operation, schemathesis.GenerationMode.POSITIVE, ask, 15)


def test_afterwards_the_model_still_answers(house):
    reply = httpx.post(
        f"{house.address}/v2/models/times/infer", json=house.question, headers=house.bearer["acme"], timeout=10
    )
    assert reply.status_code == 200
