"""Patients who book without a pause over connections that they keep, and repeat what failed, as a good client does: under the
same idempotency key, after `Retry-After`. Until SIGTERM; then they are told apart from what is stored, and counted.

    bookings.py URL SECRET-FILE NAME

Fails when something failed that repeating did not heal, when an acknowledged booking is not stored or one is stored that was
not acknowledged, and when a slot has more than five. For `.ci/package`, whose service limits nobody
(KOKORO_BOOKINGS_PER_DOCTOR_MAX is 0); needs Python alone."""

import base64
import collections
import datetime
import hashlib
import hmac
import http.client
import json
import signal
import sys
import threading
import time
import zoneinfo

url, secret_file, name = sys.argv[1:]
host = url.removeprefix("http://")
# Of two secrets with a comma between them, the first signs.
secret = open(secret_file, encoding="utf-8").read().strip().split(",")[0].encode()

SEATS, GROUPS, PATIENTS, DOCTORS = 5, 3, 7, 20
RETRYABLE = {"busy", "unavailable", "shutting_down", "outcome_unknown", "store_unreachable"}
# How long a server that takes no connection, or closes it, is left alone, and how long a request is repeated.
PAUSE, PATIENCE = 0.02, 90
today = datetime.datetime.now(zoneinfo.ZoneInfo("Asia/Kolkata")).date()
SLOTS = [
    ((today + datetime.timedelta(days)).isoformat(), f"{half // 2:02}:{half % 2 * 30:02}")
    for days in range(1, 15)
    for half in range(48)
]
over = threading.Event()
lock = threading.Lock()
ends = collections.Counter()
acknowledged = []  # When, in the order of time.
healed = requests = 0
worst = 0.0
wrong = []


def token(email, role):
    def encode(part):
        return base64.urlsafe_b64encode(part).rstrip(b"=")

    now = int(time.time())
    claims = {"sub": email, "role": role, "iat": now, "exp": now + 3600}
    text = encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode()) + b"." + encode(json.dumps(claims).encode())
    return (text + b"." + encode(hmac.new(secret, text, hashlib.sha256).digest())).decode()


class Client:
    """A connection that is kept, and opened again when it has ended."""

    def __init__(self, email=None, role="user"):
        self.connection = None
        self.headers = {"Content-Type": "application/json"}
        if email:
            self.headers["Authorization"] = f"Bearer {token(email, role)}"

    def ask(self, path, body, **headers):
        """How it ended, the answer, and how long to wait before it is repeated."""
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection(host, timeout=60)
                self.connection.connect()
        except ConnectionRefusedError:
            self.connection = None
            return "refused", None, PAUSE
        try:
            self.connection.request("POST", path, json.dumps(body).encode(), self.headers | headers)
            answer = self.connection.getresponse()
            text = answer.read()
        except http.client.IncompleteRead:
            self.connection = None
            return "torn", None, None
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            self.connection = None
            return "closed before an answer", None, PAUSE
        if answer.will_close:
            self.connection = None
        parsed = json.loads(text)
        if answer.status == 503 and parsed.get("code") in RETRYABLE:
            return f"503 {parsed['code']}", parsed, float(answer.headers.get("Retry-After", 0))
        return answer.status, parsed, None

    def must(self, path, body):
        status, answer, _ = self.ask(path, body)
        assert status == 200, (path, status, answer)
        return answer


def set_up(doctor):
    account = {"doctorname": "Asha", "email": doctor, "password": "correct horse", "phoneNumber": "12345"}
    Client().must("/auth/signupDoctor", account)
    client = Client(doctor, "doctor")
    for day in ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]:
        slots = [{"start": "00:00", "end": "24:00"}]
        client.must("/doctorsService/setSlots", {"doctor_id": doctor, "day": day, "slots": slots})


def patient(email, doctors, seats):
    """All of a group ask for the same slots in the same order: there are more of them than seats."""
    global healed, requests, worst
    client = Client(email)
    for number, (doctor, (date, start)) in enumerate((doctor, slot) for slot in SLOTS for doctor in doctors):
        if over.is_set():
            return
        begun, attempts = time.monotonic(), 0
        while True:
            body = {"doctor_id": doctor, "date": date, "start": start}
            end, answer, again = client.ask("/doctorBookings/book", body, **{"Idempotency-Key": f"{email}-{number}"})
            attempts += 1
            now = time.monotonic()
            if end == 200:
                seats.add((doctor, date, start))
                with lock:
                    acknowledged.append(now)
                    if len(acknowledged) % 1000 == 0:
                        print("booked", len(acknowledged), flush=True)
            with lock:
                requests += 1
                if end not in (200, 409):
                    ends[end] += 1
                if end in (200, 409) and attempts > 1:
                    healed += 1
                    worst = max(worst, now - begun)
                if again is None and (end not in (200, 409) or (end == 409 and answer["code"] != "slot_full")):
                    wrong.append((email, end, answer))
                if again is not None and now - begun > PATIENCE:
                    wrong.append((email, end, "not healed"))
                    again = None
            if again is None:
                break
            time.sleep(again)
    wrong.append((email, "no slot is left", "the run was too long"))


def main():
    groups = [[f"{name}.{group}.{n}@clinic.example" for n in range(DOCTORS)] for group in range(GROUPS)]
    for doctor in sum(groups, []):
        set_up(doctor)
    held = {f"{name}.{n}@example.com": set() for n in range(GROUPS * PATIENTS)}
    threads = [
        threading.Thread(target=patient, args=(email, groups[n % GROUPS], seats), daemon=True)
        for n, (email, seats) in enumerate(held.items())
    ]
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    print("begins", flush=True)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    slots, missing, strange = collections.Counter(), 0, 0
    for email, seats in held.items():
        rows = Client(email).must("/doctorBookings/user", {"user_id": email})["bookings"]
        stored = [(row["doctor_id"], row["date"], row["start"]) for row in rows]
        slots.update(stored)
        missing += len(seats - set(stored))
        strange += len(stored) - len(seats & set(stored))
    oversold = sum(seats > SEATS for seats in slots.values())
    acknowledged.sort()
    gap = max(later - earlier for earlier, later in zip(acknowledged, acknowledged[1:]))
    span = acknowledged[-1] - acknowledged[0]
    failed = sum(ends.values())
    print(
        f"{requests} requests, {len(acknowledged)} bookings in {span:.1f} s; {failed} attempts failed {dict(ends)}, of {healed}"
        f" requests, each healed by repeating within {worst:.2f} s; longest pause between two bookings {gap * 1000:.0f} ms;"
        f" {missing} acknowledged and not stored, {strange} stored and not acknowledged, {oversold} slots oversold"
    )
    if wrong or missing or strange or oversold:
        sys.exit(f"not healed: {len(wrong)} {wrong[:3]}")


main()
