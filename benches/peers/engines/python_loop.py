"""The rules as a loop in plain Python, one event after the other, as they are often written by hand. Reads NDJSON.

A rule alone keeps what it needs and no more; all four rules over cards share what a card keeps.
"""

import json
from collections import deque

import rules

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def count_since(times, now, length):
    """How many times of a key lie in the last so many milliseconds, with the one of now."""
    oldest = now - length
    while times and times[0] < oldest:
        times.popleft()
    times.append(now)
    return len(times)


class Summed:
    def __init__(self):
        self.rows, self.total = deque(), 0

    def add(self, now, length, cents):
        rows, oldest = self.rows, now - length
        while rows and rows[0][0] < oldest:
            self.total -= rows.popleft()[1]
        rows.append((now, cents))
        self.total += cents
        return len(rows)


class Distinct:
    def __init__(self):
        self.rows, self.counts = deque(), {}

    def add(self, now, length, value):
        rows, counts, oldest = self.rows, self.counts, now - length
        while rows and rows[0][0] < oldest:
            gone = rows.popleft()[1]
            counts[gone] -= 1
            if not counts[gone]:
                del counts[gone]
        rows.append((now, value))
        counts[value] = counts.get(value, 0) + 1
        return len(counts)


class Card:
    """All that four rules keep of a card: the day's rows once, for the average and the countries."""

    def __init__(self):
        self.last_minutes, self.hour = deque(), Summed()
        self.day, self.total, self.countries = deque(), 0, {}

    def add(self, now, cents, country):
        day, countries, oldest = self.day, self.countries, now - DAY
        while day and day[0][0] < oldest:
            _, gone, left = day.popleft()
            self.total -= gone
            countries[left] -= 1
            if not countries[left]:
                del countries[left]
        day.append((now, cents, country))
        self.total += cents
        countries[country] = countries.get(country, 0) + 1


def r1(times, event, cents):
    return count_since(times, event["ts_ms"], 10 * MINUTE) > 5 and cents > 25_000


def r2(spent, event, cents):
    spent.add(event["ts_ms"], HOUR, cents)
    return spent.total > 500_000 and cents > 50_000


def r3(countries, event, _):
    return countries.add(event["ts_ms"], DAY, event["country"]) >= 3


def r4(spent, event, cents):
    count = spent.add(event["ts_ms"], DAY, cents)
    return count >= 5 and cents * count > 5 * spent.total


def r5(times, event, cents):
    return count_since(times, event["ts_ms"], MINUTE) > 50 and cents < 500


def r6(cards, event, _):
    return cards.add(event["ts_ms"], HOUR, event["card_id"]) >= 4


# Rule -> key, what is kept for each, the test.
ALONE = {
    "r1": ("card_id", deque, r1),
    "r2": ("card_id", Summed, r2),
    "r3": ("card_id", Distinct, r3),
    "r4": ("card_id", Summed, r4),
    "r5": ("merchant_id", deque, r5),
    "r6": ("device_id", Distinct, r6),
}


def judge_card(card, event, cents, alerts):
    """The four rules over cards, on one event."""
    now, id = event["ts_ms"], event["tx_id"]
    if count_since(card.last_minutes, now, 10 * MINUTE) > 5 and cents > 25_000:
        hit(alerts["r1"], id)
    card.hour.add(now, HOUR, cents)
    if card.hour.total > 500_000 and cents > 50_000:
        hit(alerts["r2"], id)
    card.add(now, cents, event["country"])
    if len(card.countries) >= 3:
        hit(alerts["r3"], id)
    count = len(card.day)
    if count >= 5 and cents * count > 5 * card.total:
        hit(alerts["r4"], id)


def hit(tally, id):
    tally[0] += 1
    tally[1] += id


def main():
    chosen = rules.asked(__doc__)
    alerts = {rule: [0, 0] for rule in chosen.rules}
    together = {"r1", "r2", "r3", "r4"} <= set(chosen.rules)
    alone = [rule for rule in chosen.rules if not (together and ALONE[rule][0] == "card_id")]
    judges = [(*ALONE[rule], {}, alerts[rule]) for rule in alone]
    cards = {}
    with open(chosen.file, "rb", buffering=1 << 20) as lines:
        for line in lines:
            event = json.loads(line)
            cents = round(event["amount"] * 100)
            if together:
                card = cards.get(event["card_id"])
                if card is None:
                    card = cards[event["card_id"]] = Card()
                judge_card(card, event, cents, alerts)
            for key, keeper, judge, kept, tally in judges:
                state = kept.get(event[key])
                if state is None:
                    state = kept[event[key]] = keeper()
                if judge(state, event, cents):
                    hit(tally, event["tx_id"])
    rules.tell(alerts)


if __name__ == "__main__":
    main()
