"""What a column may be about: by its name in several languages, by the form of its values, by check digits. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from strongroom_hub.vault import checksums

DIRECT, QUASI, SENSITIVE = "direct-identifier", "quasi-identifier", "sensitive"
ENOUGH = 5
"""Values that must be there before their form says anything."""
MOST = 0.8
"""Share of values that must have the form."""


@dataclass(frozen=True, slots=True)
class Sign:
    """One reason for a tag: `kind` is `name`, `pattern`, `checksum` or `uniqueness`; the text quotes no value."""

    tag: str
    kind: str
    text: str

    def as_json(self) -> dict[str, str]:
        return {"kind": self.kind, "text": self.text}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NAMES: dict[str, tuple[str, frozenset[str]]] = {
    "a person's name": (
        DIRECT,
        _words(
            "firstname forename givenname lastname surname familyname fullname maidenname vorname nachname "
            "familienname "
            "prenom nomfamille nombre apellido apellidos cognome voornaam achternaam fornavn etternavn efternamn imie "
            "nazwisko sobrenome patientname"
        ),
    ),
    "an e-mail address": (DIRECT, _words("email mail emailaddress correo courriel epost")),
    "a phone number": (
        DIRECT,
        _words("phone telephone mobile cell cellphone telefon handy telefono tel fax telefoon telefone mobil"),
    ),
    "an address": (DIRECT, _words("address street adresse strasse rue calle direccion indirizzo straat adres adress")),
    "a number that names a person": (
        DIRECT,
        _words(
            "ssn nino nhs nhsnumber bsn pesel dni nie nif nir cpf hetu personnummer codicefiscale steuerid ahv "
            "socialsecurity passport passportno passnummer mrn patientid personid respondentid insurancenumber "
            "krankenversichertennummer kvnr nationalid"
        ),
    ),
    "an account": (DIRECT, _words("iban account accountnumber kontonummer creditcard cardnumber")),
    "a place on the network": (DIRECT, _words("ip ipaddress ipaddr macaddress deviceid imei")),
    "a date of birth": (
        QUASI,
        _words(
            "dob birthdate dateofbirth birthday geburtsdatum geburtstag datenaissance fechanacimiento datanascita "
            "geboortedatum fodselsdato fodelsedatum birthyear yearofbirth geburtsjahr yob"
        ),
    ),
    "an age": (QUASI, _words("age alter edad eta leeftijd alder idade wiek agegroup")),
    "a sex or gender": (QUASI, _words("sex gender geschlecht sexe sexo sesso geslacht kjonn kon plec genero")),
    "a place": (
        QUASI,
        _words(
            "zip zipcode postcode postalcode plz postleitzahl codepostal codigopostal cap city town municipality "
            "county "
            "district region ort wohnort stadt gemeinde ville commune ciudad citta stad kommune lat latitude lon lng "
            "longitude birthplace geburtsort"
        ),
    ),
    "an origin": (QUASI, _words("nationality citizenship nationalitaet staatsangehoerigkeit nationalite nacionalidad")),
    "a place in life": (
        QUASI,
        _words(
            "occupation job profession beruf metier profesion beroep education educ maritalstatus familienstand "
            "children "
            "employer household"
        ),
    ),
    "the time of an event": (
        QUASI,
        _words("admissiondate dischargedate visitdate dateofdeath deathdate diagnosisdate admission discharge"),
    ),
    "health": (
        SENSITIVE,
        _words(
            "diagnosis diagnose diag icd icd10 disease illness symptom medication drug therapy treatment hiv "
            "cancer tumour "
            "tumor pregnancy disability mentalhealth krankheit medikament maladie enfermedad malattia ziekte genotype "
            "blood bloodpressure bmi weight smoker alcohol"
        ),
    ),
    "money": (
        SENSITIVE,
        _words(
            "income salary wage wages debt wealth einkommen gehalt lohn revenu salaire ingreso salario reddito "
            "stipendio "
            "inkomen salaris"
        ),
    ),
    "belief, origin or private life": (
        SENSITIVE,
        _words(
            "religion ethnicity race ethnic party politics politicalparty vote union orientation sexualorientation "
            "religiosity konfession partei ethnie religione religie criminal conviction affairs"
        ),
    ),
}
"""What a name says: about -> (tag, names in letters and digits alone)."""

PATTERNS: dict[str, tuple[str, re.Pattern[str]]] = {
    "e-mail addresses": (DIRECT, re.compile(r"[^@\s]{1,64}@[A-Za-z0-9.-]{1,255}\.[A-Za-z]{2,24}")),
    "phone numbers": (
        DIRECT,
        re.compile(
            r"(?:\+|00)\d[\d ()./-]{6,18}\d|0\d{2,5}[ /-]\d[\d -]{4,12}|"
            r"\(?\d{3}\)?[ -]\d{3}-\d{4}"
        ),
    ),
    "addresses on the network": (
        DIRECT,
        re.compile(
            r"(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)|(?:[0-9A-Fa-f]{1,4}:){3,7}:?[0-9A-Fa-f:]{1,9}"
        ),
    ),
    "US social security numbers": (DIRECT, re.compile(r"(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}")),
    "postcodes": (
        QUASI,
        re.compile(r"[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}|\d{4} [A-Z]{2}|[A-Z]-\d{4,5}|\d{5}-\d{4}|\d{2}-\d{3}"),
    ),
}
"""What the form of a text says: about -> (tag, form)."""

_SPLIT = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z])(?=[A-Z])")
_FOLD = str.maketrans("äöüàâéèêëîïôùûçñóíáúåøłśżźćę", "aouaaeeeeiiouucnoiauaolszzce") | {ord("ß"): "ss", ord("æ"): "ae"}


def by_name(column: str) -> list[Sign]:
    """What the name alone suggests."""
    parts = [part for part in _SPLIT.split(column.translate(_FOLD)) if part]
    lower = [part.lower() for part in parts]
    forms = {"".join(lower), *lower, *("".join(pair) for pair in pairwise(lower))}
    return [Sign(tag, "name", f"its name suggests {about}") for about, (tag, names) in NAMES.items() if forms & names]


def by_values(values: Sequence[str]) -> list[Sign]:
    """What the forms of these values suggest; they are a sample of the column's, without the missing ones."""
    if len(values) < ENOUGH:
        return []
    signs = []
    for about, (tag, pattern) in PATTERNS.items():
        share = sum(pattern.fullmatch(value) is not None for value in values) / len(values)
        if share >= MOST:
            signs.append(Sign(tag, "pattern", f"{_percent(share)} of its values have the form of {about}"))
    plain = [checksums.plain(value) for value in values]
    for kind in checksums.KINDS:
        share = sum(checksums.holds(kind, value) for value in plain) / len(values)
        if share >= MOST:
            text = f"{_percent(share)} of its values have the form and the check digits of a {kind}"
            signs.append(Sign(DIRECT, "checksum", text))
    return signs


def _percent(share: float) -> str:
    return "all" if share == 1 else f"{share:.0%}"
