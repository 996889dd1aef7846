"""Task `maintenance-report`: a chatty description of a machine fault in, one terse line of fixed form out.

    UNIT: conveyor belt C-12 | FAULT: main bearing overheating | ACTION: replace main bearing | PRIORITY: high

UNIT is copied, FAULT is a component and one of eight symptoms, ACTION one of eight verbs and what it is done to, and
PRIORITY follows from what the text says about production. The train and held-out halves share no machine, component,
person or phrasing.
"""

import random
import re

import pools

NAME = "maintenance-report"
KEYS = ("UNIT", "FAULT", "ACTION", "PRIORITY")
INSTRUCTION = (
    "Write a maintenance report in one line of the form UNIT: machine and number | FAULT: component and symptom |"
    " ACTION: verb and object | PRIORITY: high, medium or low. Answer with this line only."
)
_FORM = re.compile(r"UNIT: ([^|\n]+) \| FAULT: ([^|\n]+) \| ACTION: ([^|\n]+) \| PRIORITY: (high|medium|low)")

# {k} the faulty component.
_SYMPTOMS = {
    "leaking": {
        "train": ("oil is dripping from the {k}", "the {k} is losing oil all over the floor",
                  "the {k} leaks like a sieve",
                  "there is a puddle right under the {k}", "fluid is seeping out of the {k}",
                  "the {k} is wet and drips"),
        "held_out": ("oil keeps trickling out of the {k}", "the {k} is leaking oil",
                     "the {k} leaves a pool of oil below it"),
    },
    "overheating": {
        "train": ("the {k} is so hot that you cannot touch it", "the {k} gets far too hot",
                  "it smells burnt near the {k}",
                  "the {k} climbs to ninety degrees", "smoke came off the {k}", "the {k} is glowing with heat"),
        "held_out": ("the {k} runs burning hot", "you could fry an egg on the {k}",
                     "the {k} is hot as an oven"),
    },
    "vibrating": {
        "train": ("the {k} shakes like mad", "the {k} makes the whole floor tremble", "the {k} vibrates badly",
                  "you can feel the {k} shaking from across the hall", "the {k} judders with every turn"),
        "held_out": ("the {k} trembles all the time", "strong vibration comes from the {k}",
                     "the {k} shakes the whole hall"),
    },
    "noisy": {
        "train": ("the {k} squeals like a pig", "there is a grinding sound from the {k}", "the {k} howls",
                  "the {k} rattles and bangs", "the {k} is so loud that we wear ear plugs",
                  "I hear a whine in the {k}"),
        "held_out": ("the {k} makes a terrible racket", "a loud screech comes from the {k}",
                     "the {k} clatters loudly"),
    },
    "jammed": {
        "train": ("the {k} is stuck solid", "the {k} will not move at all", "the {k} is blocked",
                  "the {k} has seized up",
                  "nothing I do gets the {k} to turn", "something is wedged in the {k}"),
        "held_out": ("the {k} is jammed tight", "the {k} got stuck and won't budge", "the {k} refuses to turn"),
    },
    "worn": {
        "train": ("the {k} is worn down to the metal", "there is hardly anything left of the {k}",
                  "the {k} is used up",
                  "the {k} has been rubbed thin", "the {k} is past its best, quite smooth by now"),
        "held_out": ("the {k} is badly worn", "years of use have worn the {k} away", "the {k} is worn out"),
    },
    "cracked": {
        "train": ("there is a crack in the {k}", "the {k} has split", "I saw a hairline crack on the {k}",
                  "the {k} is broken right across", "the {k} has a long fracture"),
        "held_out": ("the {k} shows a deep crack", "a crack runs through the {k}", "the {k} has cracked open"),
    },
    "loose": {
        "train": ("the {k} has come loose", "the {k} wobbles", "the {k} wags to and fro",
                  "the bolts of the {k} have worked free",
                  "the {k} has far too much play", "you can move the {k} by hand, and you should not"),
        "held_out": ("the {k} hangs loose", "the {k} wiggles in its mount", "the {k} is not tight any more"),
    },
}

# {o} the object of the action. "order" asks for a spare part, the others for work.
_ACTIONS = {
    "replace": {
        "train": ("we had better put in a new {o}", "the {o} has to be swapped", "we need to exchange the {o}",
                  "please fit another {o}", "the {o} must be replaced"),
        "held_out": ("somebody has to change the {o} for a new one", "a replacement of the {o} is due"),
    },
    "lubricate": {
        "train": ("the {o} wants some grease", "a bit of oil on the {o} should do", "please grease the {o}",
                  "the {o} has to be lubricated"),
        "held_out": ("the {o} could do with fresh grease", "give the {o} some lubrication"),
    },
    "tighten": {
        "train": ("the {o} must be screwed down again", "somebody should tighten the {o}",
                  "please pull the {o} tight",
                  "the {o} needs its bolts torqued"),
        "held_out": ("the {o} needs tightening", "take a spanner and tighten up the {o}"),
    },
    "clean": {
        "train": ("the {o} has to be cleaned", "please clear the dirt off the {o}", "the {o} needs a good wash",
                  "just blow the dust out of the {o}"),
        "held_out": ("the {o} should get a thorough cleaning", "wipe the {o} clean, please"),
    },
    "repair": {
        "train": ("the {o} ought to be mended", "please fix the {o}", "the {o} needs repair",
                  "get the welder to patch the {o}"),
        "held_out": ("I would have the {o} repaired", "a fitter should fix up the {o}"),
    },
    "inspect": {
        "train": ("please have a look at the {o}", "somebody should check the {o}", "can you examine the {o}",
                  "I want an expert to look over the {o}"),
        "held_out": ("could anyone inspect the {o}", "the {o} should be looked at closely"),
    },
    "align": {
        "train": ("the {o} has to be lined up again", "please set the {o} straight",
                  "the {o} needs to be aligned",
                  "somebody must true up the {o}"),
        "held_out": ("the {o} wants realigning", "bring the {o} back into alignment"),
    },
    "order": {
        "train": ("please order a new {o}", "could you send us {n} {o}", "we want to buy {n} {o}",
                  "kindly ship {n} {o} to us",
                  "we need {n} {o} from your stock", "please supply {n} {o}", "our order is {n} {o}"),
        "held_out": ("please send us {n} {o}", "we would like {n} {o} from you"),
    },
}

_PRIORITY = {
    "high": {
        "train": ("The whole line is standing still.", "Nobody can work here until it is fixed.",
                  "We lose money by the minute.", "Somebody could get hurt.", "We had to shut it off at once.",
                  "Nothing runs any more, it is an emergency.", "Production has stopped completely.",
                  "This is urgent, we are at a stop.", "Come right now, everything has stopped.",
                  "It is not safe, so the machine is off.", "All of us are waiting, nothing moves.",
                  "The hall is down and the orders pile up.", "We cannot produce anything at the moment.",
                  "It is really dangerous like this.", "I had to pull the emergency stop.",
                  "The shift stands around idle.", "Please hurry, the plant is dead."),
        "held_out": ("The line is down and everybody waits.", "It is dangerous, so we switched it off.",
                     "Production is at a standstill."),
    },
    "medium": {
        "train": ("It still runs, but only at half speed.", "We can limp along until the end of the week.",
                  "It works if someone stands beside it.", "We manage for a few days, not more.",
                  "Output is down a little, but we go on.", "It runs with some trouble.",
                  "It keeps working, only slower.", "We get through the next days with it.",
                  "Sometime this week would be good.", "It does its job, but not for long.",
                  "For now it goes on, with pauses.", "We help ourselves by running it slowly.",
                  "It holds out a little longer, I think.", "Half of the output is still there.",
                  "We can work with it for the time being.", "In two or three days it should be done."),
        "held_out": ("It keeps going, though slower than it should.", "We can get by for some days."),
    },
    "low": {
        "train": ("There is no hurry at all.", "It can wait until the next planned stop.",
                  "Do it whenever you have time.", "It does not bother production.", "It is not urgent.",
                  "Next month is early enough.", "There is no rush.", "It is only a small thing, no need to run.",
                  "Nobody is in a hurry here.", "It has time until the summer break.",
                  "It is nothing that could not wait.", "Put it at the end of your list.",
                  "Whenever it suits you is fine.", "Nothing bad happens if it takes weeks.",
                  "Any time will do, really.", "It is a matter of looks only, so be at ease."),
        "held_out": ("Take your time with it.", "It is nothing urgent, any quiet day will do."),
    },
}

# {u} machine with its number, or machine and number apart.
_UNIT = {
    "train": ("I am standing at the {m} {u} and", "at the {m} {u} it looks bad:",
              "the {m}, you know, {u}, is at it again:",
              "about our {m} {u}:", "when I came in, the {m} {u} was acting up;", "it is {u} again, the {m};",
              "I have bad news about the {m} {u}:", "the {m} with the number {u} is giving us grief,"),
    "held_out": ("we have trouble with the {m} {u}:", "the {m} {u} worries me,",
                 "you know {u}, the {m} by the door?",
                 "something is wrong at the {m} {u}:"),
}
_HELLO = {"train": ("Hi folks,", "Hello,", "Hey,", "Morning all,"), "held_out": ("Hi,", "Dear all,")}
_CHAT = {
    "train": ("Hope you had a lovely weekend.", "Sorry to bother you again.",
              "You know how it is with old machines.",
              "I was just about to get coffee.", "{p} told me it has been like that since Monday.",
              "My boss is already annoyed.",
              "I called you yesterday, but nobody answered.", "It was fine when I went home.",
              "I am no expert, of course.",
              "The night shift said nothing, as always.", "We bought it 12 years ago.", "Greetings from {t}.",
              "Honestly, I have had enough of it.", "{p} and I watched it for an hour.", "{p} from {c} here."),
    "held_out": ("I hope the holidays were good.", "It's me again, I'm afraid.", "{p} noticed it first.",
                 "We tried turning it off and on.", "This is {p} from {c}.", "What a day!"),
}
_CLOSE = {
    "train": ("Thanks, {p}", "Deliver to {t} by {d}, please. {p}", "See you, {p}", "Cheers",
              "Best regards, {p}, {c}",
              "Thank you so much!", "We expect it in {t} on {d}."),
    "held_out": ("Many thanks, {p}", "All the best, {p}", "It should be in {t} by {d}. Regards, {p}"),
}


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + ("" if text[-1] in ".?!" else ".")


def example(rng: random.Random, split: str) -> tuple[str, dict]:
    """One (description, record with the keys of KEYS)."""
    symptom, verb, priority = rng.choice(list(_SYMPTOMS)), rng.choice([*_ACTIONS, "order"]), rng.choice(list(_PRIORITY))
    machine, code = rng.choice(pools.pool("machines", split)), pools.unit_code(rng, split)
    component = rng.choice(pools.pool("components", split))
    wanted = rng.choice(_ACTIONS[verb][split])
    count = rng.choice(("2", "3", "four", "5 pieces of", "6", "10", "two sets of", "12 pcs of"))
    if verb == "order" and "{n}" in wanted:
        target = rng.choice(pools.spare_parts(split))
    else:
        target = component if rng.random() < 0.7 else rng.choice(pools.pool("components", split))
    slots = {
        "m": machine, "u": code, "k": component, "o": target, "n": count, "p": pools.person(rng, split),
        "c": pools.company(rng, split), "t": pools.city(rng, split), "d": pools.date(rng)[0],
    }
    trouble = f"{rng.choice(_UNIT[split])} {rng.choice(_SYMPTOMS[symptom][split])}"
    facts = [_sentence(wanted), rng.choice(_PRIORITY[priority][split])]
    rng.shuffle(facts)
    sentences = [_sentence(trouble), *facts]
    for chat in rng.sample(_CHAT[split], rng.choice((1, 1, 2))):
        sentences.insert(rng.choice((0, 0, 1, 2)), chat)
    sentences.insert(0, rng.choice(_HELLO[split]))
    if rng.random() < 0.6:
        sentences.append(rng.choice(_CLOSE[split]))
    record = (f"{machine} {code}", f"{component} {symptom}", f"{verb} {target}", priority)
    return " ".join(sentences).format(**slots), dict(zip(KEYS, record, strict=True))


def render(record: dict) -> str:
    return " | ".join(f"{key}: {record[key]}" for key in KEYS)


def parse(text: str) -> dict | None:
    """The record in a model's answer, or None unless the whole answer is one line of the form."""
    match = _FORM.fullmatch(text)
    return dict(zip(KEYS, match.groups(), strict=True)) if match else None
