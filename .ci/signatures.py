"""Sends the program webhooks, signed and forged. Razorpay's own Python package signs them and judges the forged ones.

The program must accept a webhook exactly if the package verifies its signature. Arguments: the program's address and its
webhook secrets, which are also in its settings.
"""

import json
import sys
import unicodedata
from unittest import mock
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from razorpay.errors import SignatureVerificationError
from razorpay.utility import Utility

url, *secrets = sys.argv[1:]

EVENT = '{"event":"payment_link.paid","payload":{"payment_link":{"entity":{"notes":{"name":%s}}}},"created_at":1764547200}'
BODIES = {
    "plain": EVENT % '"Asha"',
    "Unicode": EVENT % '"आशा, Zoë 👩‍⚕️"',
    "decomposed Unicode": EVENT % json.dumps(unicodedata.normalize("NFD", "Zoë"), ensure_ascii=False),
    "escapes": EVENT % r'"\u0906\u0936\u093e \ud83d\ude00 \/ \\ \" \n"',
    "white space": '\r\n{ "event" :\t"payment.captured" ,\n\n  "payload" : { } }\n',
    "numbers": '{"event":"payment.failed","amount":5e4,"fee":10.00,"tax":-0}',
    "unknown event": '{"event":"invoice.paid"}',
    "200 KiB": EVENT % json.dumps("x" * 200 * 1024),
}


def signature_of(body, secret):
    """Returns the signature that the package computes. The package has no call that returns it."""
    with mock.patch("hmac.compare_digest", return_value=True) as compare:
        Utility().verify_webhook_signature(body, "", secret)
    return compare.call_args.args[0]


def is_valid(body, signature):
    """Says whether the package verifies the signature under one of the program's secrets."""
    for secret in secrets:
        try:
            Utility().verify_webhook_signature(body, signature, secret)
            return True
        except SignatureVerificationError:
            pass
    return False


def send(body, signature):
    """Posts a webhook. Returns the status, and the code of the problem if it is one."""
    headers = {"Content-Type": "application/json"} | ({} if signature is None else {"X-Razorpay-Signature": signature})
    try:
        with urlopen(Request(f"{url}/payment/webhook", body.encode(), headers), timeout=30) as answer:
            return answer.status, None
    except HTTPError as problem:
        return problem.code, json.load(problem).get("code")


def forged(body, signature):
    """Yields webhooks that differ a little from a signed one, each with what differs."""
    middle = len(body) // 2
    yield "a byte more", body + " ", signature
    yield "a byte less", body[:-1], signature
    yield "another byte", body[:middle] + chr(ord(body[middle]) ^ 1) + body[middle + 1 :], signature
    for name, again in {
        "serialised again": json.dumps(json.loads(body)),
        "serialised again without escapes": json.dumps(json.loads(body), ensure_ascii=False, separators=(",", ":")),
        "composed": unicodedata.normalize("NFC", body),
        "stripped": body.strip(),
    }.items():
        if again != body:
            yield name, again, signature
    for name, other in {
        "no signature": "",
        "half a signature": signature[:32],
        "a longer signature": signature + "00",
        "another first digit": f"{int(signature[0], 16) ^ 1:x}" + signature[1:],
        "another last digit": signature[:-1] + f"{int(signature[-1], 16) ^ 1:x}",
        "another secret": signature_of(body, secrets[0] + "."),
        "no secret": signature_of(body, ""),
        "the signature of another body": signature_of(body * 2, secrets[0]),
    }.items():
        yield name, body, other


wrong = []
accepted = refused = 0
for name, body in BODIES.items():
    for secret in secrets:
        signature = signature_of(body, secret)
        assert is_valid(body, signature)
        answer = send(body, signature)
        accepted += answer == (200, None)
        if answer != (200, None):
            wrong.append(f"{name}: signed by the package, answered {answer}")
        for difference, other_body, other_signature in forged(body, signature):
            assert not is_valid(other_body, other_signature), difference
            answer = send(other_body, other_signature)
            refused += answer == (401, "bad_signature")
            if answer != (401, "bad_signature"):
                wrong.append(f"{name}: {difference}, refused by the package, answered {answer}")
    if (answer := send(body, None)) != (401, "bad_signature"):
        wrong.append(f"{name}: without the header, answered {answer}")

print(f"webhooks: {accepted} signed ones were accepted, {refused} forged ones were refused")
if wrong:
    sys.exit("\n".join(wrong))
