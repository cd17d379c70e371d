#!/bin/sh
# Posts one event with curl. RELAY_URL and RELAY_WRITE_KEY say where and as whom; the argument is the
# event's own id. Sending it again with the same id does no harm.
set -eu

url=${RELAY_URL:-http://127.0.0.1:8080}
key=${RELAY_WRITE_KEY:-dev-key}
id=${1:-order-1001}

# --retry repeats what may pass (408, 429, 500, 502, 503, 504), and waits as Retry-After says.
curl --silent --show-error --fail-with-body --retry 5 --retry-connrefused --max-time 30 \
  --header "Authorization: Bearer $key" --header 'Content-Type: application/json' \
  --data-binary @- "$url/v1/events" <<EVENT
{
  "event": "purchase",
  "event_id": "$id",
  "timestamp": "$(date -u +%Y-%m-%dT%H:%M:%SZ)",
  "site": "shop_us",
  "user": {"external_id": "u-1029", "email": "jane.doe@example.com"},
  "click_ids": {"gclid": "EAIaIQ-example"},
  "consent": {"ad_storage": "granted", "ad_user_data": "granted", "ad_personalization": "denied",
    "analytics_storage": "granted", "region": "US-NY"},
  "properties": {"order_id": "$id", "value": "129.90", "currency": "USD",
    "items": [{"id": "SKU-1", "name": "Shoe", "quantity": 1, "price": "129.90"}]}
}
EVENT
