"""Writes regions.mmdb, a MaxMind-format database of documentation networks (RFC 5737, RFC 3849).

pip install mmdb_writer netaddr, then: python regions.py
"""

from netaddr import IPSet
from mmdb_writer import MMDBWriter

writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="Test-City", description="test")
for network, country, state in [
    ("192.0.2.0/24", "US", "CA"),
    ("198.51.100.0/24", "DE", None),
    ("203.0.113.0/24", "US", None),
    ("2001:db8:1::/48", "GB", None),
]:
    record = {"country": {"iso_code": country}}
    if state:
        record["subdivisions"] = [{"iso_code": state}]
    writer.insert_network(IPSet([network]), record)
writer.to_db_file("regions.mmdb")
