#!/usr/bin/env python3
"""Posts one event with Python's standard library. RELAY_URL and RELAY_WRITE_KEY say where and as whom;
the argument is the event's own id. Sending it again with the same id does no harm."""

import datetime
import json
import os
import sys
import time
import urllib.error
import urllib.request

URL = os.environ.get("RELAY_URL", "http://127.0.0.1:8080") + "/v1/events"
KEY = os.environ.get("RELAY_WRITE_KEY", "dev-key")


def send(event, tries=5):
    """The relay's answer; waits where it asks for that."""
    request = urllib.request.Request(
        URL,
        data=json.dumps(event).encode(),
        headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
    )
    for attempt in range(1, tries + 1):
        wait = 2**attempt
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code not in (429, 503) or attempt == tries:
                sys.exit(f"{error.code}: {error.read().decode()}")
            wait = int(error.headers.get("Retry-After", wait))
        except urllib.error.URLError as error:
            if attempt == tries:
                sys.exit(f"no answer: {error.reason}")
        time.sleep(wait)


order = sys.argv[1] if len(sys.argv) > 1 else "order-1001"
answer = send(
    {
        "event": "purchase",
        "event_id": order,
        "timestamp": datetime.datetime.now(datetime.timezone.utc).isoformat(),
        "site": "shop_us",
        "user": {"external_id": "u-1029", "email": "jane.doe@example.com"},
        "click_ids": {"gclid": "EAIaIQ-example"},
        "consent": {
            "ad_storage": "granted",
            "ad_user_data": "granted",
            "ad_personalization": "denied",
            "analytics_storage": "granted",
            "region": "US-NY",
        },
        "properties": {
            "order_id": order,
            # Money as text, so that no float rounds it.
            "value": "129.90",
            "currency": "USD",
            "items": [{"id": "SKU-1", "name": "Shoe", "quantity": 1, "price": "129.90"}],
        },
    }
)
print(json.dumps(answer))
