from circdesk.circulation.reasons import CODES, Reason
from tests.contracts import bundle


def test_the_contract_lists_the_codes() -> None:
    document = bundle().document

    assert document["components"]["schemas"]["ReasonCode"]["enum"] == [*CODES]


def test_a_reason_says_who_could_lift_it() -> None:
    assert Reason("loan_limit", {"current": 15, "allowed": 15}).present() == {
        "code": "loan_limit",
        "message": "The user has as many loans as the rule allows.",
        "values": {"current": 15, "allowed": 15},
        "permission": "circulation:override",
    }
    assert Reason("copy_on_loan").present()["permission"] is None
