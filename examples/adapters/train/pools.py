"""Words from which both data sets are made. Every pool has a train and a held-out half that share no entry.

`pool(name, split)` returns one half. `person`, `company`, `city` and `date` draw from them with the caller's random
generator, so one seed always gives one data set.
"""

import datetime
import random
import zlib

SPLITS = ("train", "held_out")

POOLS: dict[str, dict[str, str]] = {
    "first_names": {
        "train": "Anna Jonas Priya Miguel Chloe Tariq Ingrid Pavel Leila Marcus Yuki Fatima Owen Bianca Stefan Nadia"
        " Hugo Rosa Dmitri Alice Kwame Sofia Liam Hanna Viktor Amara Theo Greta Samir Elena Peter Julia",
        "held_out": "Karin Rafael Mei Tobias Zainab Lukas Orla Emil Camila Noor Henrik Agnes",
    },
    "surnames": {
        "train": "Halvorsen Okafor Brandt Silva Nakamura Petrov Dubois Costa Larsen Weber Kowalski Moretti Hughes Novak"
        " Singh Fischer Jansen Olsen Romero Keller Varga Lindqvist Barros Schmidt Ferrari Holm Ortega Blum Ivanov Reyes"
        " Carter Walsh Meyer Bauer Nilsen Conti",
        "held_out": "Nordhaven Almeida Takeda Vogel Sorensen Marchetti Brennan Zielinski Kapoor Lindgren Duarte Hofer",
    },
    "trades": {
        "train": "Foods|Bakery|Logistics|Metalworks|Dairy|Furniture|Plastics|Packaging|Motors|Textiles|Brewery|Papers|"
        "Shipping|Chemicals|Glass|Robotics|Print|Farms|Tools|Seafood|Instruments|Cables|Roofing|Pharma",
        "held_out": "Ceramics|Timber|Confectionery|Optics|Castings|Beverages|Paints|Rubber",
    },
    "company_forms": {
        "train": "| Ltd| GmbH| Inc| AG| BV| and Sons| Group",
        "held_out": "| Ltd| GmbH| Inc| SA| Holding",
    },
    "cities": {
        "train": "Hamburg|Lyon|Porto|Oslo|Krakow|Leeds|Turin|Valencia|Ghent|Graz|Aarhus|Tampere|Brno|Boston|Denver|"
        "Toronto|Osaka|Pune|Lagos|Santiago|Perth|Zürich|Malmö|Dublin|Cork|Bremen|Nantes|Basel|Utrecht|Riga|Split|"
        "Sheffield|Portland|Atlanta|Monterrey|Nairobi|Busan|Da Nang|New Haven|San Diego|Antwerp|Lille|Cardiff|Hull|Bonn|"
        "Kiel|Ulm|Palermo|Verona|Seville|Toledo|Coimbra|Odense|Trondheim|Gothenburg|Turku|Tallinn|Vilnius|Lodz|Ostrava|"
        "Szeged|Zagreb|Varna|Izmir|Haifa|Tunis|Accra|Durban|Mumbai|Jaipur|Hanoi|Manila|Kobe|Sendai|Taipei|Brisbane|"
        "Auckland|Lima|Quito|Bogota|Salvador|Cordoba|Houston|Dallas|Memphis|Omaha|Buffalo|Calgary|Halifax|Quebec",
        "held_out": "Bergen|Rotterdam|Bilbao|Leipzig|Gdansk|Bristol|Bologna|Uppsala|Seattle|Nagoya|Chennai|Linz|"
        "Cape Town|Winnipeg|Braga",
    },
    # Ordered goods; the unit classes they may be sold in follow the colon.
    "goods": {
        "train": "hex bolts M8x40:pb|nitrile gloves:pbc|packing tape:rB|copper cable:mr|bread flour:kgp|cutting oil:ld|"
        "wooden screws:pbc|ball bearings 6204:pb|drive belts XPA 1250:ps|air filters:pbc|printer paper:bcP|label rolls:bc|"
        "stretch film:rP|cane sugar:kg|olive oil:ld|white paint:ld|steel washers:pbg|LED lamps 12 W:pb|cocoa powder:kg|"
        "cardboard boxes:pP|glass jars:pbP|engine coolant:ld|safety glasses:pb|welding rods:pb|sand paper P120:pr|"
        "roller chains 08B-1:pm|timing belts T5:ps|fuses 10 A:pb|rubber hoses:pm|brass fittings:pb|wheat starch:kg|"
        "cleaning cloths:pbr|coffee beans:kg|cable ties 200 mm:pg|pressure gauges:ps|brake pads:ps|hydraulic oil HLP 46:ld|"
        "ear plugs:pb|toner cartridges:pb|plastic crates:pP|aluminium profiles:pm|spark plugs:ps|V-belts B52:ps|"
        "oil filters W 712:pb|gear wheels:ps|shaft couplings:ps|solenoid valves:ps|limit switches:pb|sealing rings:pbs|"
        "grease cartridges:pb|O-rings 30x3:pbg|conveyor rollers:ps|drill bits 6 mm:ps|gaskets DN50:ps|pump impellers:ps|"
        "contactors 24 V:pb|blue ink:l|salt:kg|garden fence:mr|floor tiles:bP|door hinges:pb",
        "held_out": "shaft seals 40x62:pbs|proximity sensors:pb|dish soap:ld|oak boards:pmP|shipping labels:rb|"
        "needle bearings HK 2016:pb|almond flour:kg|tooth belts HTD 8M:ps|face masks:pbc|antifreeze:ld|bubble wrap:rm|"
        "steel rivets 4x10:pbg|hydraulic hoses:pm|motor brushes:ps|rye malt:kg|paper towels:rbP|relay sockets:pb|"
        "wiper blades:ps",
    },
    "machines": {
        "train": "conveyor belt|hydraulic press|filling machine|packing robot|dough mixer|band saw|air compressor|"
        "injection moulder|milling machine|labelling machine|cooling pump|bottle washer|lathe|fork lift|paint sprayer|"
        "exhaust fan|palletiser|steam boiler|meat slicer|circular saw|bucket elevator|drum dryer|core drill|"
        "laser cutter|sheet roller|vacuum pump|grain mill|screw conveyor|cartoner|welding robot",
        "held_out": "packaging line|bottling machine|rotary oven|stone crusher|shrink wrapper|water pump|pellet press|"
        "edge grinder|gantry crane|powder mixer",
    },
    # Faulty components, singular.
    "components": {
        "train": "main bearing|gearbox|drive motor|drive chain|feed roller|cooling fan|hydraulic cylinder|pump housing|"
        "coupling|tension spring|guide rail|cutting blade|oil line|spindle|clutch|brake disc|pressure valve|"
        "support frame|chain guard|timing belt|return roller|heating plate|suction hose|piston rod|inlet filter|"
        "front bearing|turntable|lifting arm|feed screw|belt pulley|control valve|ventilator",
        "held_out": "rear bearing|drive shaft|shaft seal|mixing head|transport roller|hydraulic hose|swing arm|"
        "oil pump|gear wheel|main cylinder|fan blade|drive belt",
    },
}

_SYLLABLES = ("bel ka tri mon vex lu nor sa den fi gra pol ter qui zan dor mi hel ve stro cam ri ond ul bry kel ant"
              " jor neb sil wix tha mar gle opt").split()


def pool(name: str, split: str) -> list[str]:
    """The entries of one half of a pool. The empty company form belongs to both halves on purpose."""
    text = POOLS[name][split]
    return text.split("|") if "|" in text else text.split()


def spare_parts(split: str) -> list[str]:
    """Goods that are sold in sets, all of which are parts of machines."""
    return [item for item, classes in (entry.split(":") for entry in pool("goods", split)) if "s" in classes]


def split_of_word(word: str) -> str:
    """The half to which an invented word belongs, so that no invented name or code is in both."""
    return SPLITS[zlib.crc32(word.encode()) % 4 == 0]


def invented(rng: random.Random, split: str, make) -> str:
    """Draws words from `make()` until one belongs to the split."""
    while True:
        word = make()
        if split_of_word(word) == split:
            return word


def invented_name(rng: random.Random, split: str) -> str:
    return invented(rng, split, lambda: "".join(rng.choices(_SYLLABLES, k=rng.choice((2, 2, 3)))).capitalize())


def person(rng: random.Random, split: str) -> str:
    return f"{rng.choice(pool('first_names', split))} {rng.choice(pool('surnames', split))}"


def company(rng: random.Random, split: str) -> str:
    name = rng.choice(pool("surnames", split)) if rng.random() < 0.35 else invented_name(rng, split)
    if rng.random() < 0.15:
        name = f"{name} & {rng.choice(pool('surnames', split))}"
    trade = rng.choice(pool("trades", split)) if rng.random() < 0.8 else ""
    form = rng.choice(pool("company_forms", split)) if trade else rng.choice((" Ltd", " GmbH", " Inc"))
    return f"{name} {trade}".strip() + form


def city(rng: random.Random, split: str) -> str:
    """A real city, or (one in three) an invented one, so that the name has to be read and cannot be guessed."""
    if rng.random() < 2 / 3:
        return rng.choice(pool("cities", split))
    return invented_name(rng, split) + rng.choice(("ville", "burg", "ton", "dorf", "by", "", ""))


def unit_code(rng: random.Random, split: str) -> str:
    """A machine's number, such as C-12, PM-07 or K204."""
    def make() -> str:
        letters = "".join(rng.choices("ABCDEFGHKLMPRSTVWX", k=rng.choice((1, 2))))
        number = rng.choice((str(rng.randint(1, 40)), f"{rng.randint(1, 20):02d}", str(rng.randint(100, 420))))
        return letters + rng.choice(("-", "-", "")) + number
    return invented(rng, split, make)


def date(rng: random.Random) -> tuple[str, str]:
    """A day of 2025-2028 as (text in an e-mail, ISO 8601)."""
    day = datetime.date(rng.randint(2025, 2028), rng.randint(1, 12), rng.randint(1, 28))
    suffix = "th" if 11 <= day.day <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
    text = rng.choice((
        f"{day.day} {day:%B %Y}", f"{day:%B} {day.day}, {day:%Y}", f"{day.day} {day:%b %Y}", day.isoformat(),
        f"the {day.day}{suffix} of {day:%B %Y}", f"{day:%B} {day.day}{suffix}, {day:%Y}",
    ))
    return text, day.isoformat()
