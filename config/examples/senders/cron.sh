#!/bin/sh
# Sends the files of NDJSON that something else writes into a folder, and moves what was sent aside.
# In a crontab, every five minutes:
#
#   */5 * * * * RELAY_WRITE_KEY=... /opt/relay/cron.sh /var/spool/relay
#
# A writer must finish a file under another name and then rename it to *.ndjson. `send` waits where the
# relay asks for that, and a file that was sent twice does no harm where events have an `event_id`.
set -eu

folder=${1:?the folder with *.ndjson files}
relay=${RELAY_BINARY:-conversion-relay}
url=${RELAY_URL:-http://127.0.0.1:8080}

# One run at a time.
exec 9>"$folder/.lock"
flock --nonblock 9 || exit 0

mkdir -p "$folder/sent" "$folder/refused"
failed=0
for file in "$folder"/*.ndjson; do
  [ -e "$file" ] || continue
  if "$relay" send "$file" --url "$url" >"$file.log" 2>&1; then
    mv "$file" "$file.log" "$folder/sent/"
  else
    # The log says which lines were refused and why, or that nobody answered.
    failed=1
    if grep -q '"unsent":0' "$file.log"; then mv "$file" "$file.log" "$folder/refused/"; fi
  fi
done
exit $failed
