r"""The patterns of personal data that presidio has none for, or none that is sound without a language model: as values.

Each is read by the `regex` package: ``\K`` begins what is found behind the words that say what it is, so that the words stay.
A number without a published form (a hospital's own, an insurer's own) is known by these words alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

SURE = 0.85  # said by the words before it: surer than a form alone (presidio: 0.4 to 0.6), less sure than a check digit (1.0)

# Between the words and the value: `: `, ` = `, ` is `, ` #`, `": "`, ` no. `, and a line break in a form.
_BETWEEN = (
    r"""["'’*)]{0,3}\s{0,3}(?:(?:no|nr|num|number|id|code)\b\.?\s{0,2})?"""
    r"""(?:[:=#\-–>|,]|is\b|was\b|with\b|at\b|ist\b|lautet\b)?\s{0,3}[#"'’*(]{0,3}\s{0,2}"""
)
# Letters, digits and single marks between them, of which at least four are digits: a word is no number, nor is a year or a page.
_NUMBER = (
    r"(?=(?:[A-Z0-9]|[-./](?=[A-Z0-9]))*)(?=(?:[A-Z./-]*\d){{{digits}}})"
    r"[A-Z0-9](?:[A-Z0-9]|[-./](?=[A-Z0-9])){{{least},{most}}}(?![A-Z0-9])"
)


def _number(digits: int, least: int, most: int) -> str:
    return _NUMBER.format(digits=digits, least=least - 1, most=most - 1)


_DAY, _MONTH, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:(?:18|19|20)\d\d|\d\d)"
_MONTH_NAME = (
    r"(?:jan(?:uary|uar)?|feb(?:ruary|ruar)?|mar(?:ch)?|märz|apr(?:il)?|ma[yi]|june?|juni|july?|juli|aug(?:ust)?"
    r"|sept?(?:ember)?|o[ck]t(?:ober)?|nov(?:ember)?|de[cz](?:ember)?)\.?"
)
_DATE = (
    rf"(?:(?:18|19|20)\d\d[-/.]{_MONTH}[-/.]{_DAY}|{_DAY}[-/.]{_MONTH}[-/.]{_YEAR}|{_MONTH}[-/.]{_DAY}[-/.]{_YEAR}"
    rf"|{_MONTH_NAME}\s{{0,2}}{_DAY}(?:st|nd|rd|th)?,?\s{{0,2}}(?:18|19|20)\d\d"
    rf"|{_DAY}(?:st|nd|rd|th|\.)?[\s-]{{0,2}}{_MONTH_NAME}[\s-]{{0,2}}(?:18|19|20)\d\d)(?!\d)"
)


@dataclass(frozen=True)
class Pattern:
    """A kind by its pattern.

    Attributes:
        regex: what is found, for the package `regex`, case being all one.
        score: how sure it is; 1.0 where `holds` says so.
        holds: whether a text that is found is one; without it, the words before it are what is known.
        may: what a text holds that can hold one, for the engine of polars: any other is not read.
    """

    kind: str
    regex: str
    score: float
    may: str
    holds: Callable[[str], bool] | None = None


def is_npi(text: str) -> bool:
    """Whether ten digits are a National Provider Identifier of the United States: they begin with 1 or 2, and with 80840 before
    them Luhn's sum ends in 0 (CMS, *Requirements for National Provider Identifier (NPI) and NPI Check Digit*, 2004; 45 CFR
    162.406)."""
    digits = re.sub(r"[ -]", "", text)
    return bool(re.fullmatch(r"[12]\d{9}", digits)) and _luhn("80840" + digits)


def is_kvnr(text: str) -> bool:
    """Whether a letter and nine digits are the lasting part of a German health insurance number: the letter as two digits and
    eight digits, times 1 and 2 in turn, cross sums added, end in the last one (§ 290 SGB V, Anlage 1 of the GKV-Spitzenverband)."""
    found = text.upper()
    digits = [int(digit) for digit in f"{ord(found[0]) - 64:02d}{found[1:9]}"]
    products = [digit * (1 + place % 2) for place, digit in enumerate(digits)]
    return sum(product // 10 + product % 10 for product in products) % 10 == int(found[9])


def is_nhs(text: str) -> bool:
    """Whether ten digits are a number of the National Health Service: nine of them times 10 to 2, eleven minus the rest of that by
    eleven, is the last (NHS Data Dictionary, *NHS Number*; a 10 is never given out, and an 11 is written 0)."""
    digits = [int(digit) for digit in re.sub(r"[ -]", "", text)]
    check = 11 - sum(digit * (10 - place) for place, digit in enumerate(digits[:9])) % 11
    return check != 10 and check % 11 == digits[9]


def is_ssn(text: str) -> bool:
    """Whether nine digits can be a Social Security number: no area 000, 666 or from 900 on, no group 00, no serial 0000 (Social
    Security Administration, *Social Security Number Randomization*, 2011)."""
    digits = re.sub(r"\D", "", text)
    return digits[:3] not in ("000", "666") and digits[0] != "9" and digits[3:5] != "00" and digits[5:] != "0000"


def is_mastercard(text: str) -> bool:
    digits = re.sub(r"[ -]", "", text)
    return 222100 <= int(digits[:6]) <= 272099 and _luhn(digits)


def _luhn(digits: str) -> bool:
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(number // 10 + number % 10 for number in doubled) % 10 == 0


_MRN_WORDS = (
    r"(?:\bmrn|\bm\.r\.n\.?|\bmr\s?#|\bmed(?:ical)?\.?[\s_]?rec(?:ord)?s?|\bpatient[\s_-]?(?:record|chart|account|identifier|id\b|no\b\.?|number|num\b|nr\b|#)"
    r"|\bhospital[\s_-]?(?:id\b|no\b\.?|number|#)|\bchart[\s_-]?(?:id\b|no\b\.?|number|#)|\bpatienten-?(?:nummer|nr\b|id\b)|\bfallnummer|\bfall-nr\b)"
)
_INSURANCE_WORDS = (
    r"(?:\b(?:member|subscriber|policy(?:[\s_-]?holder)?|group|insurance|insured|beneficiary|medicaid|enrollee|certificate|plan)"
    r"(?:['’]s)?[\s_-]?(?:policy|member|group)?[\s_-]?(?:id\b|identifier|identification|no\b\.?|nr\b|num\b|number|#)"
    r"|\bpolicy\s?:|\bhicn\b|\bversicherungs-?(?:nummer|nr\b|schein))"
)
_KVNR_WORDS = (
    r"(?:\bkvnr|\bversicherten-?(?:nummer|nr\b|id\b)|\bkrankenversicher(?:ten|ungs)-?(?:nummer|nr\b)"
    r"|\bgesundheitskarte|\begk\b)"
)
_BORN_WORDS = (
    r"(?:\bdobs?\b|\bd\.o\.b\.?|\bdate[\s_]of[\s_]birth|\bbirth[\s_-]?(?:date|day)|\bborn(?:\s+on)?\b"
    r"|\bgeb(?:oren)?\b\.?(?:\s+am)?|\bgeburtsdatum|\bgeburtstag)"
)

_PHONE_WORDS = (
    r"(?:\b(?:tele)?phones?\b|\btel\b\.?|\bmobile\b|\bcell(?:phone)?\b|\bcall(?:back)?\b|\bfax\b|\bring\b|\breach\s\w{2,8}\b"
    r"|\btelefon|\bhandy\b|\bcontact\b)"
)

_BEFORE_A_BRACKET = _BETWEEN.replace("*(]", "*]")  # a number may begin with it

# `may` is a first look and looks at no words twice: what it lets pass that is nothing costs a little time.
PATTERNS = (
    Pattern(
        "MRN",
        rf"{_MRN_WORDS}{_BETWEEN}\K{_number(4, 5, 16)}",
        SURE,
        r"(?i)\bm\.?r\.?n|mr\s?#|rec(?:ord)?|patient|hospital|chart|fall",
    ),
    # The words are those of the cards of US plans (CMS-1500 form, items 1a, 9a and 11) and of German ones.
    Pattern(
        "INSURANCE_ID",
        rf"{_INSURANCE_WORDS}{_BETWEEN}\K{_number(4, 6, 20)}",
        SURE,
        r"(?i)member|subscriber|polic|group|insur|beneficiary|medicaid|enrollee|certificate|plan|hicn|versicherung",
    ),
    # CMS, *Understanding the Medicare Beneficiary Identifier (MBI) format*: eleven characters, no S, L, O, I, B or Z.
    Pattern(
        "US_MBI",
        r"(?<![A-Z0-9-])[1-9][AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y]\d([ -]?)[AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y]\d\1"
        r"[AC-HJKMNP-RT-Y]{2}\d{2}(?![A-Z0-9-])",
        SURE,
        r"(?i)\b[1-9][a-z][0-9a-z]\d[ -]?[a-z][0-9a-z]\d",
    ),
    Pattern(
        "DE_KVNR",
        rf"{_KVNR_WORDS}{_BETWEEN}\K[A-Z]\d{{9}}(?!\d)",
        SURE,
        r"(?i)kvnr|versicher|gesundheitskarte|egk",
        is_kvnr,
    ),
    Pattern(
        "NPI",
        rf"(?:\bnpi\b|\bnational[\s_]provider[\s_]id(?:entifier)?){_BETWEEN}\K[12]\d{{3}}[ -]?\d{{3}}[ -]?\d{{3}}(?!\d)",
        SURE,
        r"(?i)npi|national.provider",
        is_npi,
    ),
    Pattern("DATE_OF_BIRTH", rf"{_BORN_WORDS}{_BETWEEN}\K{_DATE}", SURE, r"(?i)dob|d\.o\.b|birth|born|geb"),
    # ICAO Doc 9303, part 3: a document number has up to nine letters and digits.
    Pattern(
        "PASSPORT",
        rf"(?:\bpassports?|\breisepass){_BETWEEN}\K(?=(?:[A-Z]*\d){{4}})[A-Z0-9]{{6,9}}(?![A-Z0-9])",
        SURE,
        r"(?i)passport|reisepass",
    ),
    Pattern(
        "US_SSN",
        rf"(?:\bssn\b|\bsocial[\s_]security){_BETWEEN}\K\d{{3}}[- .]?\d{{2}}[- .]?\d{{4}}(?!\d)",
        SURE,
        r"(?i)ssn|social.security",
        is_ssn,
    ),
    # ITU-T E.164: a number has fifteen digits at most; fewer than seven are an extension.
    Pattern(
        "PHONE_NUMBER",
        rf"{_PHONE_WORDS}{_BEFORE_A_BRACKET}\K\(?\+?\(?\d(?:[ ()./-]{{0,3}}\d){{6,14}}(?!\d)",
        0.5,
        r"(?i)phone|tel|mobile|cell|call|fax|ring|reach|handy|contact",
    ),
    # Mastercard's range 222100 to 272099 (ISO/IEC 7812), which presidio leaves out; the last digit is Luhn's.
    Pattern(
        "CREDIT_CARD",
        r"(?<!\d)2[2-7]\d{2}[ -]?\d{4}[ -]?\d{4}[ -]?\d{4}(?!\d)",
        0.4,
        r"2[2-7]\d{2}[ -]?\d{4}[ -]?\d{4}[ -]?\d{4}",
        is_mastercard,
    ),
    Pattern(
        "UK_NHS",
        rf"(?:\bnhs\b){_BETWEEN}\K\d{{3}}[- ]?\d{{3}}[- ]?\d{{4}}(?!\d)",
        SURE,
        r"(?i)nhs",
        is_nhs,
    ),
)

# Names of columns and fields that say what their values are: they are read as the words before the value.
NAMES_THAT_SAY = re.compile(
    r"mrn|record|patient|hospital|chart|fall|member|subscriber|polic|group|insur|beneficiary|medicaid|enrollee|plan|versicher"
    r"|kvnr|npi|provider|phone|mobile|cell|fax|tel|dob|birth|born|geburt|passport|reisepass|ssn|social|nhs",
    re.IGNORECASE,
)
