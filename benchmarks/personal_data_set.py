"""Writes the labelled texts that the net of personal data is measured on: `python benchmarks/personal_data_set.py FILE`.

Values come from Faker (fixed seed) where it has a generator for them, else from the published rule of their kind, written here
anew: nothing of presidio or of our own patterns is used. The words around them were written before anything was measured. Of the
sentences of each kind one half is `dev`, which the patterns may be tuned on, and the other `held_out`, which they were not; the
halves share no sentence. Lines are `half<TAB>text`, in which `[[KIND|value]]` marks what is to be found; a line `known<TAB>...` says
what the tagged columns of the item of the next line hold.

Faker is no part of the environment: `uv pip install faker==40.*` into another one.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path

SEED = 20240501
EACH = 13  # texts of each kind and half
NEGATIVES = 8  # texts of each sentence without personal data, by half

# kind: (dev sentences, held-out sentences); `{}` is where a value stands.
SENTENCES: dict[str, tuple[list[str], list[str]]] = {
    "US_SSN": (
        [
            "SSN: {}",
            "The patient's social security number is {}.",
            "Her SSN ({}) is on file.",
            "employee {} was paid twice",
            "ssn={} verified",
        ],
        [
            "Social Security No. {} was given at intake.",
            "SSN {} does not match our records",
            "Please update {} in the payroll system.",
            "Applicant's SSN is {}; DOB unknown.",
            "tax form for {}",
        ],
    ),
    "MRN": (
        [
            "MRN: {}",
            "Patient ID {} was admitted last night.",
            "medical record number {} shows no allergies",
            "Chart # {} reviewed.",
            "MRN {} seen in clinic today",
        ],
        [
            "Medical Record No: {} - discharge summary",
            "Pt MRN#{} c/o chest pain",
            "see patient number {} for follow-up",
            "Hospital No. {} transferred to ICU",
            "Re: {} (MRN), referral letter",
        ],
    ),
    "INSURANCE_ID": (
        [
            "Member ID: {}",
            "Policy number {} expired in May.",
            "Insurance ID {} was rejected by the payer",
            "subscriber no. {}",
            "Group number: {}",
        ],
        [
            "Member # {} is not eligible.",
            "Please bill policy no {} for the visit.",
            "Aetna, subscriber ID: {}",
            "Claim denied for member id {}",
            "group no. {} (dental plan)",
        ],
    ),
    "US_MBI": (
        [
            "Medicare number {}",
            "MBI: {}",
            "The beneficiary {} called about part D.",
            "card reads {} on the front",
            "Medicare ID {} active",
        ],
        [
            "HIC/MBI {} verified with CMS",
            "her Medicare card says {}",
            "{} is enrolled in Part B",
            "Medicare no. {}",
            "eligibility check for {} failed",
        ],
    ),
    "DE_KVNR": (
        [
            "KVNR {}",
            "Versichertennummer: {}",
            "Die Krankenversichertennummer lautet {}.",
            "Gesundheitskarte {} eingelesen",
            "KVNR: {}, AOK Bayern",
        ],
        [
            "Versicherten-Nr. {} bitte prüfen",
            "Krankenversicherungsnummer {}",
            "eGK {} ist abgelaufen",
            "Patient (KVNR {}) erschien nicht.",
            "Die KVNR des Kindes ist {}",
        ],
    ),
    "NPI": (
        [
            "NPI: {}",
            "Referring provider NPI {}",
            "Ordering physician (NPI {})",
            "rendering NPI# {}",
            "National Provider Identifier {}",
        ],
        [
            "Provider NPI number {}",
            "Dr. Lee, NPI {}, signed the order.",
            "billing npi={}",
            "National Provider ID: {}",
            "NPI no. {} is inactive",
        ],
    ),
    "DATE_OF_BIRTH": (
        ["DOB: {}", "Date of birth {}", "The patient was born on {} in Ohio.", "geboren am {}", "DOB {} verified"],
        [
            "D.O.B.: {}",
            "Birthdate: {}",
            "She was born {} and lives alone.",
            "Geburtsdatum: {}",
            "pt dob {} f/u in 2 wks",
        ],
    ),
    "PASSPORT": (
        ["Passport number {}", "Passport No. {}", "passport: {}", "Reisepass {} vorgelegt", "travels on passport {}"],
        [
            "Her passport ({}) expires soon.",
            "US passport no {}",
            "Passport # {} was stolen",
            "holder of passport number: {}",
            "Reisepassnummer {}",
        ],
    ),
    "EMAIL_ADDRESS": (
        [
            "Write to {} please.",
            "contact: {}",
            "Forwarded by <{}> on Monday",
            "{} did not answer",
            "Email={}; verified",
        ],
        ["Her e-mail is {}.", "cc {} and the whole team", "reply-to: {}", "account {} is locked", "mailto:{}"],
    ),
    "PHONE_NUMBER": (
        ["Call {} after noon.", "Tel. {}", "phone: {}", "reach me at {} please", "his mobile is {}"],
        ["Callback number {}", "fax {}", "You can ring {} any time.", "emergency contact {}", "cell {} (wife)"],
    ),
    "CREDIT_CARD": (
        ["card {} was declined", "Charge it to {}.", "Visa {} exp 04/27", "paid with {}", "credit card number: {}"],
        [
            "The customer read out {} over the phone.",
            "refund to card {}",
            "cc {} on file",
            "Mastercard no. {}",
            "old card {} expired",
        ],
    ),
    "IBAN_CODE": (
        ["IBAN: {}", "please transfer to {}", "account {} was closed", "refund to {} today", "Bankverbindung {}"],
        ["pay into {} by Friday", "IBAN {} is wrong", "Konto: {}", "direct debit from {}", "the payee's account is {}"],
    ),
    "IP_ADDRESS": (
        [
            "login from {}",
            "client {} timed out",
            "blocked {} after 5 attempts",
            "host={} port=443",
            "The request came from {}.",
        ],
        ["session opened by {}", "remote addr {}", "{} was banned", "last seen at {}", "ping {} fails"],
    ),
    "UK_NHS": (
        ["NHS number {}", "NHS No: {}", "nhs {} confirmed with GP", "The NHS number is {}.", "NHS: {}"],
        [
            "patient's NHS no. {}",
            "NHS Number: {} (verified)",
            "registered under NHS number {}",
            "nhs# {}",
            "her NHS number, {}, was missing",
        ],
    ),
}

# Texts in which nothing is to be found; `#` is a digit, `@` a letter.
CLEAN: tuple[list[str], list[str]] = (
    [
        "Order ########## shipped yesterday",
        "order no. #####-#### of March",
        "version #.#.#.# was released",
        "ISBN 978-#-##-######-#",
        "2024-0#-1# 1#:4#:0# INFO started worker ##",
        "part number @@-####-####",
        "Amoxicillin #00 mg every # hours for 1# days",
        "invoice INV-202#####-### of # items costs ####.## EUR",
        "pH #.#, Na 1#0, K #.#, Cl 1##, BUN #",
        "tracking 1Z@@@###########",
        "The run took ####.## s on ## cores",
        "commit #a#f##c#e#b at line ###",
        "Table #: 1# 2# 3# 4# 5# 6# 7# 8#",
        "build 20240#1#.#",
        "born to run, 1#### km on the clock",
        "serial S/N ####-@@@@-####",
        "ticket T-##### of #### is closed",
        "lot ######, exp 0#/2#",
        "room ###, floor #, bed #",
        "score ##:## after ## minutes",
        "the patient took # tablets at ##:##",
    ],
    [
        "purchase order ##########",
        "PO-##########, # pallets",
        "release v#.##.#.# fixes it",
        "ISBN-10 #-####-####-#",
        "[2023-1#-0#T0#:3#:1#Z] job ##### done",
        "SKU @@@-#####-@",
        "Metformin ###mg BID, titrate to ####mg",
        "Quote Q-####-##### valid until 31 May 202#",
        "BP 1##/##, HR ##, SpO2 9#%, temp 3#.#",
        "container @@@@ ######-#",
        "epoch ## loss 0.####### lr 0.000#",
        "sha256 #f##ab#c##e#d#f#",
        "rows ####### of ########, ## MB",
        "port ##### is in use",
        "article number ##.###.##",
        "GTIN 40#####200###",
        "the group of ## people met in 20##",
        "plan B needs #### bricks",
        "page ### of ####",
        "firmware build ##.##.####",
        "coordinates 5#.#####, 1#.#####",
    ],
)

NAMES = (
    "Mary Quillfeather",
    "Jürgen Großmann",
    "O'Brannigan, Siobhan",
    "José Peñalver",
    "Thaddeus van Wyk",
    "Nguyen Thi Minh",
    "Anne-Marie Dupont",
    "Bartholomew",
    "Zoë Ingersoll",
    "Quentin Ashdown",
)
KNOWN: tuple[list[tuple[str, str]], list[tuple[str, str]]] = (
    [
        ("{} called about the bill", ""),
        ("we saw {} today", "upper"),
        ("Note by nurse: {}'s wound heals", ""),
        ("({})", "lower"),
    ],
    [
        ("Spoke to {} again.", "lower"),
        ("RE: {}, follow-up", "upper"),
        ("daughter of {}", "blanks"),
        ("per {}: no pain", ""),
    ],
)
UNKNOWN = (
    ["Ms. Smithson called instead", "the quill and the feather lay there", "Ashdowns live next door"],
    ["nobody of that name came", "Ingersollville is a town", "Dr. Bartholomewson signed"],
)


def main(file: Path) -> None:
    lines: list[str] = []
    chance = random.Random(SEED)
    makers = values(chance)
    for half in (0, 1):
        name = ("dev", "held_out")[half]
        for kind, sentences in SENTENCES.items():
            for number in range(EACH):
                sentence = sentences[half][number % len(sentences[half])]
                lines.append(f"{name}\t" + sentence.replace("{}", f"[[{kind}|{makers[kind]()}]]"))
        for sentence in CLEAN[half]:
            lines += [f"{name}\t{filled(sentence, chance)}" for _ in range(NEGATIVES)]
        for number in range(20):
            person = NAMES[number % len(NAMES)]
            sentence, how = KNOWN[half][number % len(KNOWN[half])]
            shown = {"upper": person.upper(), "lower": person.lower(), "blanks": person.replace(" ", "  ")}.get(
                how, person
            )
            lines += [f"known\t{person}", f"{name}\t" + sentence.replace("{}", f"[[KNOWN_VALUE|{shown}]]")]
            if number < 12:
                lines += [f"known\t{person}", f"{name}\t{UNKNOWN[half][number % 3]}"]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def filled(sentence: str, chance: random.Random) -> str:
    some = {"#": "0123456789", "@": "ABCDEFGHJKLMNPRSTUVWXYZ"}
    return "".join(chance.choice(some[one]) if one in some else one for one in sentence)


def values(chance: random.Random) -> dict[str, Callable[[], str]]:
    """A maker of values of each kind."""
    from faker import Faker

    Faker.seed(SEED)
    us, uk, de = Faker("en_US"), Faker("en_GB"), Faker("de_DE")

    def digits(count: int) -> str:
        return "".join(str(chance.randrange(10)) for _ in range(count))

    def letters(count: int, among: str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ") -> str:
        return "".join(chance.choice(among) for _ in range(count))

    def mbi() -> str:
        a, an = "ACDEFGHJKMNPQRTUVWXY", "0123456789ACDEFGHJKMNPQRTUVWXY"
        found = chance.choice("123456789") + letters(1, a) + letters(1, an) + digits(1)
        found += letters(1, a) + letters(1, an) + digits(1) + letters(2, a) + digits(2)
        return found if chance.random() < 0.4 else f"{found[:4]}-{found[4:7]}-{found[7:]}"

    def npi() -> str:
        body = chance.choice("12") + digits(8)
        total = 24  # of 80840, as CMS says
        for place, digit in enumerate(map(int, body)):
            doubled = digit * 2 if place % 2 == 0 else digit
            total += doubled - 9 if doubled > 9 else doubled
        return body + str(-total % 10)

    def kvnr() -> str:
        letter, body = letters(1), digits(8)
        number = f"{ord(letter) - 64:02d}{body}"
        total = sum(sum(map(int, str(int(digit) * (1 if place % 2 == 0 else 2)))) for place, digit in enumerate(number))
        return f"{letter}{body}{total % 10}"

    def nhs() -> str:
        while True:
            body = digits(9)
            check = 11 - sum(int(digit) * weight for digit, weight in zip(body, range(10, 1, -1), strict=True)) % 11
            if check != 10:
                found = body + str(0 if check == 11 else check)
                return found if chance.random() < 0.4 else f"{found[:3]} {found[3:6]} {found[6:]}"

    def born() -> str:
        day = us.date_of_birth(minimum_age=1, maximum_age=95)
        forms = ("%Y-%m-%d", "%m/%d/%Y", "%d.%m.%Y", "%B %d, %Y", "%d %b %Y", "%m-%d-%y")
        return day.strftime(chance.choice(forms))

    return {
        "US_SSN": us.ssn,
        "MRN": lambda: chance.choice(
            [digits(8), digits(6), f"{letters(2)}{digits(6)}", f"{digits(3)}-{digits(2)}-{digits(3)}"]
        ),
        "INSURANCE_ID": lambda: chance.choice(
            [f"{letters(3)}{digits(9)}", digits(9), f"{letters(1)}{digits(8)}-{digits(2)}"]
        ),
        "US_MBI": mbi,
        "DE_KVNR": kvnr,
        "NPI": npi,
        "DATE_OF_BIRTH": born,
        "PASSPORT": lambda: chance.choice(
            [digits(9), f"{letters(1)}{digits(8)}", f"C{digits(2)}{letters(1)}{digits(2)}{letters(1)}{digits(2)}"]
        ),
        "EMAIL_ADDRESS": lambda: chance.choice([us.email, us.company_email, de.email])(),
        "PHONE_NUMBER": lambda: chance.choice(
            [us.basic_phone_number, uk.phone_number, de.phone_number, us.basic_phone_number]
        )(),
        "CREDIT_CARD": lambda: us.credit_card_number(card_type=chance.choice(["visa16", "mastercard", "amex"])),
        "IBAN_CODE": lambda: chance.choice([uk.iban, de.iban])(),
        "IP_ADDRESS": lambda: chance.choice([us.ipv4, us.ipv4, us.ipv6])(),
        "UK_NHS": nhs,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
