import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circdesk.db.text import fold, fold_for_search, words


class TestFold:
    @pytest.mark.parametrize(
        ("text", "folded"),
        [
            ("", ""),
            ("The Left Hand of Darkness", "the left hand of darkness"),
            ("  Left-Hand,\tof\nDarkness!  ", "left hand of darkness"),
            ("snake_case", "snake case"),
            ("It's Finnegans' `Wake`", "its finnegans wake"),
            (
                "L\N{RIGHT SINGLE QUOTATION MARK}Été à Łódź, l\N{ACUTE ACCENT}été",
                "lete a lodz lete",
            ),
            ("Straße, STRASSE", "strasse strasse"),
            ("Æsop, œuvre", "aesop oeuvre"),
            ("Søren Ørsted", "soren orsted"),
            ("Đorđe, Þórður Guðmundsson", "dorde thordur gudmundsson"),
            ("İstanbul, Diyarbak\N{LATIN SMALL LETTER DOTLESS I}r", "istanbul diyarbakir"),
            ("Naïve café", "naive cafe"),
            ("Cafe\N{COMBINING ACUTE ACCENT}", "cafe"),
            ("e\N{SOFT HYPHEN}book, zero\N{ZERO WIDTH JOINER}width", "ebook zerowidth"),
            ("\N{LATIN SMALL LIGATURE FI}n, Ⅳ", "fin iv"),
            (
                "\N{MODIFIER LETTER TURNED COMMA}Alī, Dostoevskiĭ, Gogol\N{MODIFIER LETTER PRIME}",
                "ali dostoevskii gogol",
            ),
            ("Ὀδύσσεια, ὈΔΎΣΣΕΙΑ", "οδυσσεια οδυσσεια"),
            ("Анна Каренина", "анна каренина"),
            ("吾輩は猫である", "吾輩は猫てある"),
            ("हिन्दी", "हिनदी"),
            ("מְדִינָה", "מדינה"),
            ("1984 & ½", "1984 1 2"),
            ("a\x00b\ud800c", "a b c"),
            ("™ ℌ", "tm h"),  # noqa: RUF001 - letters that decompose to capitals.
        ],
    )
    def test_it_leaves_letters_and_digits(self, text: str, folded: str) -> None:
        assert fold(text) == folded

    @given(st.text())
    def test_folding_twice_changes_nothing(self, text: str) -> None:
        assert fold(fold(text)) == fold(text)

    @given(st.text())
    def test_composed_and_decomposed_text_fold_alike(self, text: str) -> None:
        composed, decomposed = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))

        assert fold(composed) == fold(decomposed)

    @given(st.text(st.characters(max_codepoint=127)))
    def test_the_short_way_for_ascii_leads_to_the_same(self, text: str) -> None:
        assert fold(text) == " ".join(word for word in fold(f"{text} é").split()[:-1])

    def test_every_character_is_stable(self) -> None:
        folded = (fold(chr(codepoint)) for codepoint in range(0x40000))

        assert [text for text in folded if fold(text) != text] == []


class TestFoldForSearch:
    @pytest.mark.parametrize(
        ("text", "folded"),
        [
            ("The Left Hand", "the left hand"),
            ("L'Étranger", "letranger l etranger"),
            ("l\N{RIGHT SINGLE QUOTATION MARK}e\N{COMBINING ACUTE ACCENT}te", "lete l ete"),
            ("Dell'arte della guerra", "dellarte della guerra dell arte"),
            ("'Quoted' L'an, l'an", "quoted lan lan l an"),
            ("Gogol\N{MODIFIER LETTER PRIME}s", "gogols"),
        ],
    )
    def test_it_adds_the_parts_of_what_an_apostrophe_joins(self, text: str, folded: str) -> None:
        assert fold_for_search(text) == folded


class TestWords:
    def test_it_is_the_folded_words_in_order(self) -> None:
        assert words("Straße — the «Road»") == ["strasse", "the", "road"]

    def test_no_letters_are_no_words(self) -> None:
        assert words(" -- ") == []
