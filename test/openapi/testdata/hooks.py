"""What Schemathesis needs to know of Portico beside its document.

Waiting is cut short, so that 5,000 requests end, and so is what makes a request line longer than the 64 KiB that a server reads: that is refused before there is an operation. Of the answers from 500 on those pass that say something else than a fault: not implemented, not available now,
too late, full.
"""

from urllib.parse import quote

import schemathesis

LONGEST = 20_000  # bytes of one parameter, encoded
WAITS = {"wait", "timeout"}
HONEST = {501, 503, 504, 507}


def short(value):
    """The same duration in so many milliseconds: what is no duration stays."""
    text = str(value)
    return "5ms" if text and text.rstrip("hmnus0123456789.") == "" and text[0].isdigit() and not text.isdigit() else value


@schemathesis.hook
def before_call(context, case, kwargs):
    for values in (case.query or {}, case.path_parameters or {}):
        for name, value in values.items():
            if isinstance(value, str) and len(quote(value, errors="replace")) > LONGEST:
                values[name] = value[:1000]
    for name in WAITS & set(case.query or {}):
        case.query[name] = short(case.query[name])
    if case.operation.label == "POST /v1/serve" and "wait" not in (case.query or {}):
        case.query["wait"] = "5ms"
    for name in list(case.headers or {}):
        if name.lower() == "prefer":
            case.headers[name] = "wait=1"


@schemathesis.check
def no_fault(context, response, case):
    if response.status_code >= 500 and response.status_code not in HONEST:
        raise AssertionError(f"{response.status_code}: {response.text[:300]}")
    problem = response.status_code >= 400 and case.method != "HEAD"
    if problem and response.headers.get("content-type", [""])[0] != "application/problem+json":
        raise AssertionError(f"{response.status_code} is no problem document")
