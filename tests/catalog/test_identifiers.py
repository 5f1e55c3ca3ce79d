import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import ean, isbn

from circdesk.catalog.identifiers import InvalidIsbnError, language_code, normalize_isbn

bodies_of_ten = st.text("0123456789", min_size=9, max_size=9)
bodies_of_thirteen = st.builds(str.__add__, st.sampled_from(["978", "979"]), bodies_of_ten)


def suggestion_for(text: str) -> str | None:
    with pytest.raises(InvalidIsbnError) as caught:
        normalize_isbn(text)
    return caught.value.suggestion


class TestNormalizeIsbn:
    @pytest.mark.parametrize(
        "text",
        [
            "9780804429573",
            "978-0-8044-2957-3",
            "978 0 8044 2957 3",
            " 978\N{EN DASH}0\N{EN DASH}8044\N{EN DASH}2957\N{EN DASH}3\n",
            "978\N{NON-BREAKING HYPHEN}0804429573",
            "\N{LEFT-TO-RIGHT MARK}978\N{NO-BREAK SPACE}0804429573",
            "080442957X",
            "080442957x",
            "0-8044-2957-X",
        ],
    )
    def test_every_spelling_of_an_isbn_is_the_same_thirteen_digits(self, text: str) -> None:
        assert normalize_isbn(text) == "9780804429573"

    @pytest.mark.parametrize("text", ["9780441478124", "978-0-441-47812-X", "0-441-47812-0"])
    def test_a_wrong_check_digit_is_refused_with_the_right_isbn_13(self, text: str) -> None:
        assert suggestion_for(text) == "9780441478125"

    def test_the_message_of_a_wrong_check_digit_says_so(self) -> None:
        with pytest.raises(InvalidIsbnError, match="'0441478120' has a wrong check digit"):
            normalize_isbn("0441478120")

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "-",
            "X",
            "978",
            "044147812",
            "97804414781255",
            "9770441478125",
            "0441X78123",
            "978X441478125",
            "044147812A",
            "\u0660441478123",
            "044147812\u0663",
            "ISBN 0441478123",
            "9780441478125\x00",
        ],
    )
    def test_what_is_no_isbn_at_all_is_refused_without_a_suggestion(self, text: str) -> None:
        assert suggestion_for(text) is None

    @given(st.text())
    def test_any_text_is_either_normalized_or_refused(self, text: str) -> None:
        try:
            answer = normalize_isbn(text)
        except InvalidIsbnError as error:
            answer = error.suggestion or ""
        assert not answer or isbn.is_valid(answer)

    @given(bodies_of_thirteen, st.sampled_from("0123456789"))
    def test_thirteen_digits_are_accepted_exactly_when_stdnum_accepts_them(
        self, body: str, check: str
    ) -> None:
        if isbn.is_valid(body + check):
            assert normalize_isbn(body + check) == body + check
        else:
            assert suggestion_for(body + check) == body + ean.calc_check_digit(body)

    @given(bodies_of_ten, st.sampled_from("0123456789Xx"))
    def test_ten_digits_are_accepted_exactly_when_stdnum_accepts_them(
        self, body: str, check: str
    ) -> None:
        expected = isbn.to_isbn13(body + check.upper())
        if isbn.is_valid(body + check):
            assert normalize_isbn(body + check) == expected
        else:
            assert suggestion_for(body + check) == expected

    @given(bodies_of_thirteen)
    def test_a_suggestion_is_itself_accepted(self, body: str) -> None:
        right = ean.calc_check_digit(body)
        wrong = str((int(right) + 1) % 10)
        assert normalize_isbn(suggestion_for(body + wrong) or "") == body + right


@given(bodies_of_ten)
def test_both_lengths_of_an_isbn_are_the_same_isbn(body: str) -> None:
    thirteen = "978" + body + ean.calc_check_digit("978" + body)
    assert normalize_isbn(isbn.to_isbn10(thirteen)) == thirteen


class TestLanguageCode:
    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("en", "eng"),
            ("ENG", "eng"),
            (" English ", "eng"),
            ("de", "ger"),
            ("deu", "ger"),
            ("ger", "ger"),
            ("german", "ger"),
            ("fra", "fre"),
            ("zho", "chi"),
            ("el", "gre"),
            ("Greek", "gre"),
            ("Ancient Greek", "grc"),
            ("Swahili", "swa"),
            ("Bengali", "ben"),
            ("ga", "gle"),
            ("cmn", "cmn"),
        ],
    )
    def test_any_code_or_english_name_gives_the_code_that_marc_uses(
        self, text: str, code: str
    ) -> None:
        assert language_code(text) == code

    @pytest.mark.parametrize("code", ["mul", "zxx", "und", "gem"])
    def test_codes_of_marc_for_more_or_less_than_one_language_stay(self, code: str) -> None:
        assert language_code(code) == code

    @pytest.mark.parametrize(("text", "code"), [("scr", "hrv"), ("scc", "srp"), ("mol", "rum")])
    def test_codes_that_marc_withdrew_give_their_successors(self, text: str, code: str) -> None:
        assert language_code(text) == code

    @pytest.mark.parametrize("text", ["", "q", "nonsense", "qqq", "\x00"])
    def test_what_is_no_language_gives_nothing(self, text: str) -> None:
        assert language_code(text) is None
