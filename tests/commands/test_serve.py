import pytest

from circdesk.commands.serve import address_of


class TestAddress:
    @pytest.mark.parametrize(
        ("host", "address"),
        [
            ("127.0.0.1", "http://127.0.0.1:8000"),
            ("localhost", "http://localhost:8000"),
            ("0.0.0.0", "http://127.0.0.1:8000"),
            ("::1", "http://[::1]:8000"),
            ("::", "http://[::1]:8000"),
        ],
    )
    def test_it_is_where_callers_on_this_machine_reach_the_service(
        self, host: str, address: str
    ) -> None:
        assert address_of(host, 8000) == address
