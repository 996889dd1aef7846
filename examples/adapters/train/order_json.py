"""Task `order-json`: an order e-mail in, one line of strict JSON with fixed keys out.

`example(rng, split)` invents an e-mail and its record. The train and held-out halves share no company, person, city,
product or phrasing; only the date formats, units and JSON keys are the same.
"""

import json
import random

import pools

NAME = "order-json"
KEYS = ("customer", "item", "quantity", "unit", "delivery_date", "city")
INSTRUCTION = (
    "Extract the order as one line of JSON with the keys customer, item, quantity (a number), unit (pcs, box, roll, kg,"
    " l, m, bag, pallet, drum, set or carton), delivery_date (YYYY-MM-DD, or null) and city. Answer with the JSON only."
)

# Class letter in the goods pool -> (normalised unit, ways to write it; "" is "40 ball bearings").
_UNITS = {
    "p": ("pcs", ("pieces of", "pcs of", "pcs", "", "", "units of")), "b": ("box", ("boxes of",)),
    "r": ("roll", ("rolls of",)), "B": ("box", ("boxes of",)), "k": ("kg", ("kg of", "kilograms of",
          "kilos of", "kg")),
    "l": ("l", ("litres of", "liters of", "l of")), "m": ("m", ("metres of", "meters of", "m of")),
    "g": ("bag", ("bags of",)), "P": ("pallet", ("pallets of",)), "d": ("drum", ("drums of",)),
    "s": ("set", ("sets of",)), "c": ("carton", ("cartons of",)),
}
_NUMBER_WORDS = "two three four five six seven eight nine ten eleven twelve".split()

# {c} company, {p} person, {q} quantity with unit and item, {t} city, {d} date.
_INTRO = {
    "train": ("this is {p} from {c}.", "I am writing on behalf of {c}.", "{p} here, purchasing at {c}.",
              "my name is {p} and I work for {c}.", "{c} would like to place an order.",
              "we at {c} need some material again.", "greetings from {c}.", "here comes a new order from {c}.",
              "I look after the stock room of {c}.",
              "I order for {c}.", "{c} needs your help.", "{p} of {c} speaking.",
              "it is {p} again, from {c}.", "you have supplied {c} for years, and we are happy with you."),
    "held_out": ("it's {p}, I do the buying for {c}.", "{c} is in need of supplies.",
                 "{p} speaking for {c}.", "a quick order for {c}, if I may.", "I run the stores at {c}.",
                 "on the list of {c} today is one thing."),
}
_ORDER = {
    "train": ("Please send us {q}.", "We would like to order {q}.", "Could you deliver {q}?", "We need {q}.",
              "Kindly book {q} for us.", "I'd like to buy {q}.", "Can you ship {q} to us?", "Our order: {q}.",
              "Please put us down for {q}.", "May I ask you for {q}?", "Please pack {q} and send the bill to me.",
              "Get {q} ready and charge us as usual.", "We will take {q}, thank you.", "What is missing here: {q}.",
              "This time it is {q}.", "We are short of stock, so please supply {q}."),
    "held_out": ("Would you mind sending {q}?", "What we want is {q}.", "Please reserve {q} and invoice us.",
                 "We'd be glad to receive {q}.", "Put {q} on our account, please.",
                 "Is it possible to have {q} from you?", "Add {q} to our next consignment."),
}
_PLACE_AND_DATE = {
    "train": ("Deliver to our site in {t} by {d}.", "We need it in {t} on {d}.",
              "It should reach {t} before {d}.",
              "The goods go to {t}, latest {d}.", "Our warehouse in {t} expects the delivery on {d}.",
              "Delivery date is {d}, place is {t}.", "Please make sure that it arrives in {t} by {d}.",
              "On {d} our people in {t} can unload.",
              "{t} is where it has to go, {d} at the latest.", "{t}, {d}: that is where and when we need it.",
              "{d} is the day, {t} the place.", "{t} should have it by {d}.", "Address: {t}. Date: {d}.",
              "Bring it to {t}, where we wait for it until {d}.", "Our customer in {t} needs it on {d}.",
              "Ship it to {t}; {d} would be fine.",
              "By {d}, to {t} please."),
    "held_out": ("Have it at our plant in {t} no later than {d}.",
                 "We are counting on {d} as arrival day in {t}.",
                 "{t} is the destination and {d} the deadline.",
                 "Send everything to {t} so that it is there on {d}.",
                 "The ramp in {t} is free on {d}, so come then.", "Until {d} is soon enough, in {t}."),
}
_PLACE_ONLY = {
    "train": ("Deliver to {t} whenever it suits you.", "It goes to {t}, there is no fixed date.",
              "Please ship to our site in {t} as soon as you can.",
              "Our warehouse in {t} takes it at any time.",
              "{t} is where it has to go, sooner or later.", "{t} will take it, we have set no date."),
    "held_out": ("Send it to {t}, the day does not matter.", "{t} is the place; the time is up to you."),
}
_REMARK = {
    "train": ("The last delivery was two days late, please do better.", "Our old order number was {n}.",
              "Call me at 0{n} {n} if anything is unclear.", "Invoice as usual, 30 days net.",
              "The {m} broke down on Monday and we lost 6 hours.", "The {k} of our {m} {u} has given up again.",
              "Our {m} {u} is standing still because the {k} leaks.",
              "Since Friday the {k} has been making noise.",
              "We still have a few left on the shelf, but not for long.", "Hope you had a good weekend.",
              "The weather here is dreadful.", "Use gate {g} and ask for the foreman.",
              "Last month you charged us {n} euros, which was right.",
              "The {m} {u} gets so hot that we had to stop it.",
              "Without it the {m} cannot run, so it really matters.",
              "My colleague told me your prices are fair."),
    "held_out": ("Quote our reference {n} on the papers.",
                 "The {k} of the {m} {u} has failed and production waits.",
                 "Sorry for the short notice, it's been a rough week.", "The driver should report at dock {g}.",
                 "Our {m} is down, its {k} drips oil everywhere.", "We paid invoice {n} yesterday."),
}
_HELLO = {
    "train": ("Hello,", "Dear Sir or Madam,", "Hi there,", "Good morning,", "Dear team,", "Hi,",
              "Dear order office,", "Hello shop,", "Dear colleagues,", "Hello {s},"),
    "held_out": ("Good afternoon,", "Hey,", "Dear sales desk,", "Hi {s},"),
}
_GOODBYE = {
    "train": ("Best regards, {p}", "Thanks, {p}", "Kind regards, {p}, {c}", "Thank you!", "Yours, {p}",
              "Cheers, {p}"),
    "held_out": ("Many thanks, {p}", "All the best, {p}, {c}", "Thanks a lot."),
}


def _goods(rng: random.Random, split: str) -> tuple[str, int, str, str]:
    """(item, quantity, normalised unit, "5 boxes of item")."""
    item, classes = rng.choice(pools.pool("goods", split)).split(":")
    unit, words = _UNITS[rng.choice(classes)]
    quantity = rng.choice((rng.randint(2, 12), rng.randint(2, 40), rng.choice((25, 50, 75, 80, 120, 250, 400, 600)),
                           rng.randint(41, 999), rng.choice((1000, 1200, 1500, 2000, 5000))))
    number = str(quantity)
    if quantity <= 12 and rng.random() < 0.35:
        number = _NUMBER_WORDS[quantity - 2]
    return item, quantity, unit, " ".join(f"{number} {rng.choice(words)} {item}".split())


def example(rng: random.Random, split: str) -> tuple[str, dict]:
    """One (e-mail, record with the keys of KEYS)."""
    item, quantity, unit, goods = _goods(rng, split)
    customer, city, person = pools.company(rng, split), pools.city(rng, split), pools.person(rng, split)
    written_date, iso_date = pools.date(rng)
    slots = {
        "c": customer, "p": person, "q": goods, "t": city, "d": written_date, "n": rng.randint(1000, 99999),
        "g": rng.randint(1, 9), "u": pools.unit_code(rng, split), "m": rng.choice(pools.pool("machines",
                                                                                             split)),
        "k": rng.choice(pools.pool("components", split)), "s": rng.choice(pools.pool("first_names", split)),
    }
    dated = rng.random() < 0.9
    body = [rng.choice(_ORDER[split]), rng.choice((_PLACE_AND_DATE if dated else _PLACE_ONLY)[split])]
    for remark in rng.sample(_REMARK[split], rng.choice((0, 1, 1, 2))):
        body.insert(rng.randint(0, len(body)), remark)
    goodbye = rng.choice(_GOODBYE[split])
    parts = [rng.choice(_HELLO[split])] if rng.random() < 0.8 else []
    # The company is named once or twice, at the beginning or in the signature.
    if "{c}" not in goodbye or rng.random() < 0.5:
        intro = rng.choice(_INTRO[split])
        parts.append(intro if parts or intro[0] == "{" else intro[0].upper() + intro[1:])
    mail = rng.choice((" ", " ", "\n")).join(parts + body + [goodbye]).format(**slots)
    record = (customer, item, quantity, unit, iso_date if dated else None, city)
    return mail, dict(zip(KEYS, record, strict=True))


def render(record: dict) -> str:
    """The target text: one line, keys in the order of KEYS."""
    return json.dumps(record, ensure_ascii=False)


def parse(text: str) -> dict | None:
    """The record in a model's answer, or None unless the whole answer is one JSON object with exactly the keys."""
    try:
        record = json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) and set(record) == set(KEYS) else None
